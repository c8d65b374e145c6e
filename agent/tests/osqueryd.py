#!/usr/bin/env python3
"""A stand-in for osqueryd, which cannot be had everywhere: it speaks osquery's TLS API as a client.

Made from osquery's public documentation ("Remote settings", "Command line flags", "Logging") and from
nothing of ours. Tables and queries are SQLite's, as osquery's are. With --tls_dump each exchange is a line of
JSON in <logger_path>/exchanges.jsonl; the body of the answer is in it as it came.

What it does is decided by flags alone, in osquery's notation: --name=value, of several the last; --flagfile
where it stands. Periods may have fractions of a second. It ends on SIGTERM.
"""

import http.client
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time

TABLES = ("os_version", "osquery_info", "system_info", "platform_info")


def read_flags(arguments, flags):
    for argument in arguments:
        name, _, value = argument.strip().lstrip("-").partition("=")
        if name == "flagfile":
            with open(value) as file:
                read_flags([line for line in file if line.startswith("--")], flags)
        elif name:
            flags[name] = value or "true"
    return flags


class Extensions:
    """What --extensions_autoload names: a path a line; osqueryd tells each its socket."""

    def __init__(self, flags):
        self.running = []
        path = flags.get("extensions_autoload")
        if path and os.path.exists(path):
            with open(path) as file:
                for program in filter(None, map(str.strip, file)):
                    # osqueryd loads nothing that others could have written.
                    if os.stat(program).st_mode & 0o022:
                        print(f"extension binary has unsafe permissions: {program}", flush=True)
                        continue
                    socket_ = flags.get("extensions_socket", "")
                    self.running.append(subprocess.Popen([program, "--socket", socket_]))

    def end(self):
        for process in self.running:
            process.terminate()
            process.wait()


class Node:
    def __init__(self, flags):
        self.flags = flags
        self.database = flags["database_path"]
        os.makedirs(self.database, exist_ok=True)
        os.makedirs(flags["logger_path"], exist_ok=True)
        self.key_file = os.path.join(self.database, "node_key")
        self.tables = self.make_tables()

    def make_tables(self):
        tables = sqlite3.connect(":memory:")
        tables.row_factory = sqlite3.Row
        name = self.flags.get("specified_identifier", "00000000-1111-2222-3333-444444444444")
        rows = {
            "os_version": {"name": "Stand-in", "version": "1", "platform": "debian",
                           "platform_like": "debian", "arch": "x86_64"},
            "osquery_info": {"version": "5.9.1", "build_platform": "debian", "instance_id": "i"},
            "system_info": {"uuid": name, "hostname": "stand-in", "computer_name": "stand-in",
                            "hardware_serial": "", "hardware_model": "", "cpu_type": "x86_64"},
            "platform_info": {"vendor": "none"},
        }
        for table, row in rows.items():
            tables.execute(f"CREATE TABLE {table} ({', '.join(row)})")
            tables.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})",
                           list(row.values()))
        return tables

    def select(self, sql):
        """Rows as osquery gives them: every value a text."""
        return [{column: str(row[column]) for column in row.keys()}
                for row in self.tables.execute(sql)]

    def post(self, endpoint, body):
        flags = self.flags
        verify = ssl.create_default_context(cafile=flags.get("tls_server_certs"))
        if flags.get("tls_client_cert"):
            verify.load_cert_chain(flags["tls_client_cert"], flags["tls_client_key"])
        path = flags[endpoint]
        connection = http.client.HTTPSConnection(flags["tls_hostname"], context=verify, timeout=20)
        text = json.dumps(body)
        headers = {"Content-Type": "application/json", "Accept": "application/json",
                   "User-Agent": "osquery/5.9.1"}
        connection.request("POST", path, text, headers)
        response = connection.getresponse()
        answer = response.read().decode()
        connection.close()
        if flags.get("tls_dump") == "true":
            exchange = {"path": path, "request": body, "status": response.status,
                        "type": response.getheader("Content-Type"), "answer": answer}
            with open(os.path.join(flags["logger_path"], "exchanges.jsonl"), "a") as file:
                file.write(json.dumps(exchange) + "\n")
        # Whatever the status, the body says what is wrong.
        return json.loads(answer)

    def enroll(self):
        if os.path.exists(self.key_file):
            with open(self.key_file) as file:
                return file.read()
        secret = os.environ[self.flags["enroll_secret_env"]]
        name = self.flags.get("specified_identifier")
        body = {
            "enroll_secret": secret,
            "host_identifier": name or self.select("SELECT uuid FROM system_info")[0]["uuid"],
            "platform_type": "9",
            "host_details": {table: self.select(f"SELECT * FROM {table}")[0] for table in TABLES},
        }
        answer = self.post("enroll_tls_endpoint", body)
        if answer.get("node_invalid") or not answer.get("node_key"):
            print(f"enrollment failed: {answer}", flush=True)
            return None
        with open(self.key_file, "w") as file:
            file.write(answer["node_key"])
        return answer["node_key"]

    def ask(self, endpoint, **body):
        """Shows the node key; enrolls anew, and asks again the next time, where that is refused."""
        key = self.enroll()
        if key is None:
            return None
        answer = self.post(endpoint, {"node_key": key, **body})
        if answer.get("node_invalid") in (True, "true", "1"):
            os.remove(self.key_file)
            return None
        if "error" in answer:
            print(f"refused: {answer['error']}", flush=True)
            return None
        return answer

    def config(self):
        self.ask("config_tls_endpoint")

    def distributed(self):
        asked = self.ask("distributed_tls_read_endpoint")
        queries, discovery = (asked or {}).get("queries", {}), (asked or {}).get("discovery", {})
        if discovery:
            queries = {name: sql for name, sql in queries.items()
                       if name in discovery and self.select(discovery[name])}
        if not queries:
            return
        results, statuses, messages = {}, {}, {}
        for name, sql in queries.items():
            try:
                results[name], statuses[name] = self.select(sql), 0
            except sqlite3.Error as error:
                results[name], statuses[name], messages[name] = "", 1, str(error)
        self.ask("distributed_tls_write_endpoint", queries=results, statuses=statuses,
                 messages=messages)

    def log(self):
        line = {"hostIdentifier": self.flags.get("specified_identifier"), "severity": "0",
                "message": "stand-in", "unixTime": str(int(time.time()))}
        self.ask("logger_tls_endpoint", log_type="status", data=[line])


def main():
    if sys.argv[1:] == ["--version"]:
        print("osqueryd version 5.9.1")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    flags = read_flags(sys.argv[1:], {})
    with open(flags["pidfile"], "w") as file:
        file.write(str(os.getpid()))
    extensions = Extensions(flags)
    node = Node(flags)
    period = {node.config: "config_refresh", node.distributed: "distributed_interval",
              node.log: "logger_tls_period"}
    due = dict.fromkeys(period, 0.0)
    try:
        while True:
            task = min(due, key=due.get)
            time.sleep(max(0.0, due[task] - time.monotonic()))
            try:
                task()
            except (OSError, ValueError, http.client.HTTPException, socket.timeout) as error:
                print(f"{task.__name__}: {error}", flush=True)
            due[task] = time.monotonic() + float(flags.get(period[task], "10"))
    finally:
        extensions.end()


if __name__ == "__main__":
    main()
