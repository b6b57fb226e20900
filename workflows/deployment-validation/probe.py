#!/usr/bin/env python3
"""Checks a service that runs, and measures it. Reads {"url", "checks", "requests"}: without a url the service is served for the time of the probe, by `./operate.sh serve`, on a
free port of loopback. Writes what a step of type `probe` gives; a service that does not answer is an answer too."""

import http.client
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

# How long a service may take until it answers for the first time, and for each answer, in seconds.
START, ANSWER = 30, 10
KINDS = {"number": (int, float), "text": str, "boolean": bool, "list": list, "object": dict}


class Service:
    def __init__(self, url):
        parts = urlsplit(url)
        self.connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.host, self.base = parts.netloc, parts.path.rstrip("/")

    def get(self, path):
        """The status and the body, read as JSON where it is."""
        connection = self.connect(self.host, timeout=ANSWER)
        try:
            connection.request("GET", self.base + path)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, None


def served():
    """Starts the service on a free port; gives the process and where it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PORT": str(port)}
    process = subprocess.Popen(["./operate.sh", "serve"], env=environment, stdout=sys.stderr, start_new_session=True)
    return process, f"http://127.0.0.1:{port}"


def wait_for(service, path, process):
    deadline = time.monotonic() + START
    while True:
        try:
            return service.get(path)
        except OSError:
            ended = process is not None and process.poll() is not None
            if ended or time.monotonic() > deadline:
                return None
            time.sleep(0.05)


def differences(check, status, body):
    """What an answer lacks of what a check expects."""
    told = []
    if status != check.get("status", status):
        told.append(f"status {status} and not {check['status']}")
    body = body if isinstance(body, dict) else {}
    for name, value in check.get("expect", {}).items():
        if body.get(name) != value:
            told.append(f"{name} is {json.dumps(body.get(name))} and not {json.dumps(value)}")
    for name, kind in check.get("fields", {}).items():
        if name not in body:
            told.append(f"{name} is missing")
        elif not isinstance(body[name], KINDS[kind]) or (kind == "number" and isinstance(body[name], bool)):
            told.append(f"{name} is no {kind}: {json.dumps(body[name])}")
    return told


def probe(service, checks, requests, process):
    result = {"version": "", "passed": 0, "failed": [], "error_percent": 100.0, "p50_ms": 0.0, "p95_ms": 0.0}
    health = checks["health"]
    answer = wait_for(service, health["path"], process)
    if answer is None:
        result["failed"].append(f"health {health['path']}: no answer")
        return result
    result["version"] = str((answer[1] or {}).get(health.get("version", "version"), ""))
    for kind, check in [("health", health), *(("smoke", one) for one in checks["smoke"]), *(("contract", one) for one in checks["contract"])]:
        try:
            told = differences(check, *service.get(check["path"]))
        except OSError as error:
            told = [f"no answer: {error}"]
        result["failed"] += [f"{kind} {check['path']}: {one}" for one in told]
        result["passed"] += not told
    times, errors = [], 0
    for _ in range(requests):
        begin = time.perf_counter()
        try:
            errors += service.get(checks["load"]["path"])[0] >= 500
        except OSError:
            errors += 1
        times.append((time.perf_counter() - begin) * 1000)
    result["error_percent"] = round(100 * errors / requests, 2)
    result["p50_ms"] = round(statistics.median(times), 2)
    result["p95_ms"] = round(sorted(times)[int(len(times) * 0.95)], 2)
    return result


def main():
    given = json.load(sys.stdin)
    checks = json.loads(pathlib.Path(given["checks"]).read_text(encoding="utf-8"))
    process, url = (None, given["url"]) if given["url"] else served()
    try:
        result = probe(Service(url), checks, given["requests"], process)
    finally:
        if process is not None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    for told in result["failed"]:
        print(told, file=sys.stderr)
    json.dump(result, sys.stdout)


main()
