"""An emulator of AWS for the tests: ministack, and what it lacks of the behaviour that a deployment rests on.

- EventBridge invokes a function as AWS does: again after a failure, then its destination for failures.
- A function is told the alias that it was invoked by, and a function URL with IAM says who called.
- Schedules are looked at each second, and what they say of the time and of themselves is filled in.
- RATCHET_EMULATOR_DELIVERIES=2 delivers every event twice.
- RATCHET_EMULATOR_MINUTE=2 makes a minute of a rate last two seconds.

It replaces functions of ministack by name, so that its version is pinned.
"""

import datetime
import json
import os

import ministack.app
from ministack.core.responses import get_account_id
from ministack.services import eventbridge, lambda_svc, scheduler

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


eventbridge._parse_rate_seconds = parse_short_rate
eventbridge._invoke_target = invoke_target_filled_in
eventbridge._dispatch_to_lambda = dispatch_to_lambda
eventbridge._SCHEDULER_TICK_INTERVAL = 1
scheduler._SCHEDULE_TICK_INTERVAL = 1
lambda_svc._build_function_url_event = build_event_with_caller
lambda_svc._execute_function_with_config_scope = execute_as_invoked

if __name__ == "__main__":
    ministack.app.main()
