"""An emulator of AWS for the tests: ministack, and what it lacks of the behaviour that a deployment rests on.

- EventBridge invokes a function as AWS does: again after a failure, then its destination for failures.
- A function is told the alias that it was invoked by, and a function URL with IAM says who called.
- Schedules are looked at each second, and what they say of the time and of themselves is filled in.
- RATCHET_EMULATOR_TASKS=PROGRAM runs the tasks of ECS as processes of that program, where there are no images: each with an empty folder of its own at
  RATCHET_FOLDER, and with what becomes of it said on the bus. Beside that folder, `PID.task` says which attempt a process is. A client token that was used before gives the task that it gave then.
- RATCHET_EMULATOR_DELIVERIES=2 delivers every event twice.
- RATCHET_EMULATOR_MINUTE=2 makes a minute of a rate last two seconds.

It replaces functions of ministack by name, so that its version is pinned.
"""

import datetime
import json
import os
import signal
import subprocess
import threading

import ministack.app
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import ecs, eventbridge, lambda_svc, scheduler

DELIVERIES = int(os.environ.get("RATCHET_EMULATOR_DELIVERIES", "1"))
MINUTE = float(os.environ.get("RATCHET_EMULATOR_MINUTE", "60"))


def dispatch_to_lambda(arn, payload):
    function, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not function or not config:
        eventbridge.logger.warning("the target %s is not there", name)
        return
    record = lambda_svc._execution_record_for_config(function, config)
    for _ in range(DELIVERIES):
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))


build_event = lambda_svc._build_function_url_event


def build_event_with_caller(*arguments, anonymous=False, **named):
    event = build_event(*arguments, anonymous=anonymous, **named)
    authorization = event["headers"].get("authorization", "")
    if not anonymous and "Credential=" in authorization:
        key = authorization.split("Credential=", 1)[1].split("/", 1)[0]
        account = get_account_id()
        event["requestContext"]["authorizer"] = {
            "iam": {
                "accessKey": key,
                "accountId": account,
                "callerId": key,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": f"arn:aws:iam::{account}:user/{key}",
                "userId": key,
            }
        }
    return event


execute = lambda_svc._execute_function_with_config_scope


def execute_as_invoked(function, event):
    url = (event.get("requestContext") or {}).get("apiId") if isinstance(event, dict) else None
    resolved = lambda_svc.resolve_function_url(url) if url else None
    qualifier = resolved[3] if resolved else None
    if qualifier:
        config = function.get("config") or function
        config = {**config, "FunctionArn": f"{config['FunctionArn']}:{qualifier}"}
        function = {**function, "config": config} if "config" in function else config
    return execute(function, event)


invoke_target = eventbridge._invoke_target


def invoke_target_filled_in(target, event, rule, *more):
    if event.get("Source") == "aws.scheduler" and "Input" in target:
        at = datetime.datetime.fromtimestamp(event["Time"], datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        filled = {"scheduled-time": at, "execution-id": event["EventId"], "schedule-arn": rule.get("Arn", "")}
        text = target["Input"]
        for name, value in filled.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        target = {**target, "Input": text}
    return invoke_target(target, event, rule, *more)


parse_rate = eventbridge._parse_rate_seconds


def parse_short_rate(expression):
    seconds = parse_rate(expression)
    return None if seconds is None else seconds * MINUTE / 60


TASKS = os.environ.get("RATCHET_EMULATOR_TASKS")
FOLDER = os.environ.get("RATCHET_FOLDER", "")
# By the task's ARN: its process.
processes = {}
# By the client token: what was answered.
answers = {}
starting = threading.Lock()


def tell_of_task(task):
    told = ("clusterArn", "desiredStatus", "lastStatus", "overrides", "startedBy", "stopCode", "stoppedReason", "taskArn", "version")
    entry = {
        "Source": "aws.ecs",
        "DetailType": "ECS Task State Change",
        "Resources": [task["taskArn"]],
        "Detail": json.dumps({name: task[name] for name in told if task.get(name) is not None}),
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def variables_of(task):
    definition = ecs._task_defs[ecs._resolve_td_key(task["taskDefinitionArn"])]
    overrides = task["overrides"]["containerOverrides"]
    said = definition["containerDefinitions"][0].get("environment", []) + [one for override in overrides for one in override.get("environment", [])]
    return {variable["name"]: variable["value"] for variable in said}


def run_process(task, scope):
    # A namespace of its own: the program is the first process in it, and all others go with it.
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    command += ['mount -t tmpfs -o mode=755 none "$RATCHET_FOLDER" && exec "$0"', TASKS]
    passed = ("AWS_ENDPOINT_URL", "HOME", "PATH", "RATCHET_FOLDER", "RATCHET_RECORDING")
    environment = {name: os.environ[name] for name in passed if name in os.environ}
    environment |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "RATCHET_STEP_USER": "same"}
    environment |= variables_of(task)
    beside = os.path.dirname(FOLDER)
    with open(os.path.join(beside, "tasks.log"), "ab") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    processes[task["taskArn"]] = process
    with open(os.path.join(beside, f"{process.pid}.task"), "w") as note:
        note.write(environment["RATCHET_TASK"])
    code = process.wait()
    with scope():
        ecs._mark_task_stopped(task["taskArn"], task, "Essential container in task exited", "EssentialContainerExited", exit_code=code)
        tell_of_task(task)


run_task = ecs._run_task


def run_task_as_process(data):
    with starting:
        token = data.get("clientToken")
        if token in answers:
            return answers[token]
        answer = run_task(data)
        if token and answer[0] == 200:
            answers[token] = answer
    if answer[0] == 200:
        account, region = get_account_id(), get_region()
        for started in json.loads(answer[2])["tasks"]:
            task = ecs._tasks[started["taskArn"]]
            arguments = (task, lambda: request_scope(account, region))
            threading.Thread(target=run_process, args=arguments, daemon=True).start()
    return answer


def stop_process(data):
    task = ecs._resolve_task(data.get("task", ""), ecs._resolve_cluster_name(data.get("cluster", "default")))
    process = processes.get(task["taskArn"]) if task else None
    if process and process.poll() is None:
        task["stopCode"] = "UserInitiated"
        # The first process in the namespace is to hear it, which unshare does not pass on to.
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
            for child in children.read().split():
                os.kill(int(child), signal.SIGTERM)
    return ecs._describe_tasks({"cluster": data.get("cluster", "default"), "tasks": [data["task"]]})


if TASKS:
    ecs._get_docker = lambda: None
    ecs._ACTION_MAP |= {"RunTask": run_task_as_process, "StopTask": stop_process}

eventbridge._parse_rate_seconds = parse_short_rate
eventbridge._invoke_target = invoke_target_filled_in
eventbridge._dispatch_to_lambda = dispatch_to_lambda
eventbridge._SCHEDULER_TICK_INTERVAL = 1
scheduler._SCHEDULE_TICK_INTERVAL = 1
lambda_svc._build_function_url_event = build_event_with_caller
lambda_svc._execute_function_with_config_scope = execute_as_invoked

if __name__ == "__main__":
    ministack.app.main()
