#!/usr/bin/env python3
"""A follow-up desk that lives on Heyi's feed: Python 3 and SQLite, nothing to install.

It keeps persons, visits and reports, and a list of whom to call: every inpatient 3, 7 and 30 days after the discharge, and whoever has a
critical result the next day. What a consumer owes the feed is marked below with the duty's name, as `heyi feed rehearse` reports it.

    HEYI_TOKEN=... consumer.py --database desk.db pull http://127.0.0.1:8480      (or `stream`)
    consumer.py --database desk.db webhook 127.0.0.1:9000 --secret-file desk.secret
    consumer.py --database desk.db list
"""

import argparse
import base64
import contextlib
import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import os
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

TABLES = """
CREATE TABLE IF NOT EXISTS position (cursor TEXT);
CREATE TABLE IF NOT EXISTS seen (event TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS erased (one_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS person (
    id TEXT PRIMARY KEY, one_id TEXT, epoch INTEGER, version INTEGER, name TEXT, phone TEXT, merged_into TEXT);
CREATE TABLE IF NOT EXISTS visit (
    id TEXT PRIMARY KEY, one_id TEXT, epoch INTEGER, version INTEGER, status TEXT, class TEXT, ended_at TEXT);
CREATE TABLE IF NOT EXISTS lab_report (
    id TEXT PRIMARY KEY, one_id TEXT, epoch INTEGER, version INTEGER, status TEXT, critical INTEGER, reported_at TEXT);
-- Whose it is, the record says: so nothing here has to move when the record does.
CREATE TABLE IF NOT EXISTS follow_up (
    what TEXT, record TEXT, due TEXT, event TEXT, state TEXT, PRIMARY KEY (what, record));
CREATE INDEX IF NOT EXISTS visit_of ON visit (one_id);
CREATE INDEX IF NOT EXISTS report_of ON lab_report (one_id);
"""

# The tables of records, by the schema of an event's data and by the kind of a row in a snapshot.
KINDS = {"person": "one_id", "visit": "visit_id", "lab_report": "report_id"}
CALLS = {"call 3 days after the discharge": 3, "call 7 days after the discharge": 7, "call 30 days after the discharge": 30}
CAUSES = ("visit.discharged", "lab.critical")
CRITICAL = "ask how the patient is after a critical result"


class Desk:
    """What is kept. Each method that changes something runs in the transaction of its caller."""

    def __init__(self, path):
        # Several threads of the webhook share it one after the other; `state` reads beside the writer.
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self.db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + TABLES)

    @contextlib.contextmanager
    def transaction(self):
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def rows(self, sql, *values):
        return self.db.execute(sql, values).fetchall()

    def cursor(self):
        found = self.rows("SELECT cursor FROM position")
        return found[0][0] if found else None

    def set_cursor(self, cursor):
        self.db.execute("DELETE FROM position")
        self.db.execute("INSERT INTO position VALUES (?)", (cursor,))

    def epoch(self):
        return epoch_of(self.cursor() or "1-0")

    # Events

    def take(self, event, epoch):
        """One event, in its transaction."""
        if not self.is_new(event["id"]):
            return
        kind, data = event["type"], event["data"]
        one_id = event.get("subject")
        if self.rows("SELECT 1 FROM erased WHERE one_id = ?", one_id):
            return  # erase: nothing that comes late brings the patient back
        if kind == "patient.erased":
            for forgotten in data["erased"]:
                self.erase(forgotten)
        elif kind == "patient.merged":
            self.merge(data, epoch)
        elif kind == "patient.split":
            self.split(data, epoch)
        else:
            # unknown: what is not one of these schemas is not for this desk. Of those that are, members are picked by name.
            table = event["dataschema"].removeprefix("/schemas/").removesuffix(".v1.json")
            if table in KINDS:
                self.keep(table, data, epoch, event["id"] if kind in CAUSES else None)

    def is_new(self, event):
        """repeat: whether an event was not taken before."""
        return self.db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event,)).rowcount == 1

    def is_newer(self, table, record, epoch, version):
        """order: whether it is newer than what is held. Within an epoch versions count; a newer epoch is never older."""
        held = self.rows(f"SELECT epoch, version FROM {table} WHERE id = ?", record)
        return not held or (epoch, version) > held[0]

    def keep(self, table, data, epoch, event=None):
        """A whole record, if it is newer than what is held."""
        if self.is_newer(table, data[KINDS[table]], epoch, data["version"]):
            self.put(table, data, epoch, event)

    def put(self, table, data, epoch, event=None):
        """A whole record, with what is to be done about it."""
        row = {"id": data[KINDS[table]], "one_id": data["one_id"], "epoch": epoch, "version": data["version"]}
        if table == "person":
            phones = data.get("phones") or [{}]
            row |= {"name": data.get("name"), "phone": phones[0].get("value"), "merged_into": data.get("merged_into")}
        elif table == "visit":
            row |= {"status": data.get("status"), "class": data.get("class"), "ended_at": data.get("ended_at")}
        else:
            row |= {"status": data.get("status"), "critical": data.get("critical") is True, "reported_at": data.get("reported_at")}
        marks = ", ".join("?" * len(row))
        self.db.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        self.plan(table, row, event)

    def merge(self, data, epoch):
        """merge: everything of the retired One IDs is the survivor's, and they are persons no more."""
        if not self.is_newer("person", data["one_id"], epoch, data["version"]):
            return
        self.keep("person", data, epoch)
        for retired in data["retired"]:
            for table in ("visit", "lab_report"):
                self.db.execute(f"UPDATE {table} SET one_id = ? WHERE one_id = ?", (data["one_id"], retired))
            self.db.execute("UPDATE person SET merged_into = ? WHERE id = ?", (data["one_id"], retired))

    def split(self, data, epoch):
        """split: the records that are named go to the other person, and no others."""
        if not self.is_newer("person", data["one_id"], epoch, data["version"]):
            return
        self.keep("person", data, epoch)
        for table, name in (("visit", "visits"), ("lab_report", "lab_reports")):
            for record in data.get("records", {}).get(name, []):
                self.db.execute(f"UPDATE {table} SET one_id = ? WHERE id = ?", (data["new_one_id"], record))

    def erase(self, one_id):
        """erase: the patient with all records and plans is forgotten; only that it was so is kept."""
        self.db.execute("INSERT OR IGNORE INTO erased VALUES (?)", (one_id,))
        for table in ("visit", "lab_report", "person"):
            for (record,) in self.rows(f"SELECT id FROM {table} WHERE one_id = ?", one_id):
                self.drop(table, record)

    def drop(self, table, record):
        self.db.execute(f"DELETE FROM {table} WHERE id = ?", (record,))
        self.db.execute("DELETE FROM follow_up WHERE record = ?", (record,))

    # What is to be done

    def plan(self, table, row, event):
        """What the record as it is now asks for. take-back, correct: what it does not ask for any more is cancelled."""
        wanted = {}
        if table == "visit" and row["class"] == "inpatient" and row["status"] == "finished" and row["ended_at"]:
            wanted = {what: day_after(row["ended_at"], days) for what, days in CALLS.items()}
        if table == "lab_report" and row["critical"]:
            wanted = {CRITICAL: day_after(row["reported_at"] or "", 1)}
        for what, due in wanted.items():
            # repeat: planned once, whatever comes again; done stays done, unless there is another date.
            self.db.execute(
                "INSERT INTO follow_up VALUES (?, ?, ?, ?, 'open') ON CONFLICT (what, record) DO UPDATE"
                " SET due = excluded.due, event = excluded.event, state = 'open'"
                " WHERE state = 'cancelled' OR due <> excluded.due OR (state = 'open' AND follow_up.event IS NULL)",
                (what, row["id"], due, event),
            )
        if not wanted:
            self.db.execute("UPDATE follow_up SET state = 'cancelled' WHERE record = ? AND state = 'open'", (row["id"],))

    # Snapshots

    def compare(self, rows):
        """Drops what is not listed; gives whether something is held otherwise than it is listed."""
        listed = {(row["kind"], row["id"]): row["version"] for row in rows}
        held = {(table, id): version for table in KINDS for id, version in self.rows(f"SELECT id, version FROM {table}")}
        for table, record in held.keys() - listed.keys():
            self.drop(table, record)
        return any(held.get(name) != version for name, version in listed.items())

    def state(self):
        """For `heyi feed rehearse`: what is held, and what was done about it."""
        persons = self.rows("SELECT id, version FROM person WHERE merged_into IS NULL")
        visits = self.rows("SELECT id, one_id, version, status FROM visit")
        reports = self.rows("SELECT id, one_id, version, status, critical FROM lab_report")
        actions = self.rows(
            "SELECT what, record, coalesce(visit.one_id, lab_report.one_id), event, state = 'open' FROM follow_up"
            " LEFT JOIN visit ON visit.id = record LEFT JOIN lab_report ON lab_report.id = record"
        )
        return {
            "persons": {id: {"version": version} for id, version in persons},
            "visits": {id: {"one_id": whose, "version": version, "status": status} for id, whose, version, status in visits},
            "lab_reports": {
                id: {"one_id": whose, "version": version, "status": status, "critical": bool(critical)}
                for id, whose, version, status, critical in reports
            },
            "actions": [
                {"what": what, "record": record, "one_id": whose, "event": event, "open": bool(is_open)}
                for what, record, whose, event, is_open in actions
            ],
        }


def epoch_of(cursor):
    return int(cursor.split("-")[0])


def day_after(time_of_it, days):
    try:
        return (datetime.date.fromisoformat(time_of_it[:10]) + datetime.timedelta(days)).isoformat()
    except ValueError:  # a time of which the day is not known: today
        return (datetime.date.today() + datetime.timedelta(days)).isoformat()


# A consumer that asks


class Feed:
    def __init__(self, address, token):
        self.address, self.headers = address.rstrip("/"), {"Authorization": f"Bearer {token}"}

    def ask(self, path, parameters=None, body=None):
        """The answer, or `urllib.error.HTTPError`; one that breaks off is an error of the connection."""
        url = f"{self.address}{path}?{urllib.parse.urlencode(parameters)}" if parameters else self.address + path
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, self.headers, method="GET" if body is None else "PUT")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def stream(self, after):
        """Lines of the stream after a position."""
        headers = self.headers | {"Last-Event-ID": after}
        # Every 15 seconds there is a line.
        return urllib.request.urlopen(urllib.request.Request(f"{self.address}/v1/feed/stream", headers=headers), timeout=60)

    def pages(self, path):
        """All rows of a snapshot or a comparison, and the cursor from which the feed goes on."""
        rows, key = [], {}
        while True:
            page = self.ask(path, {"limit": 1000} | key)
            rows += page["records"]
            if page["next"] is None:
                return rows, page["cursor"]
            key = {"after": page["next"]}


def take_page(desk, feed):
    """Asks once, keeps what is told, then commits."""
    cursor = desk.cursor()
    page = feed.ask("/v1/feed", {"after": cursor or "start", "limit": 200, "wait": 30})
    # cut: an answer that breaks off has failed above, and nothing of it is kept.
    with desk.transaction():
        for event in page["events"]:
            desk.take(event, epoch_of(page["next"]))
        # filtered: `next` counts, not the last event. commit: it is kept together with the events, and told afterwards.
        desk.set_cursor(page["next"])
    if page["next"] != cursor:
        feed.ask("/v1/feed/cursor", body={"cursor": page["next"]})


def follow_stream(desk, feed):
    """The same as server-sent events: keeps each as it comes, and says after each how far it is."""
    with feed.stream(desk.cursor() or "start") as lines:
        fields = {}
        for line in lines:
            name, _, value = line.decode().rstrip("\r\n").partition(":")
            if name or value:
                fields[name] = value.removeprefix(" ")
                continue
            # cut: an event that no empty line ends is none.
            if "data" in fields and "id" in fields:
                # filtered: the id of a `feed.checkpoint` lies behind what is not for this desk.
                with desk.transaction():
                    if fields.get("event") != "feed.checkpoint":
                        desk.take(json.loads(fields["data"]), epoch_of(fields["id"]))
                    desk.set_cursor(fields["id"])
                feed.ask("/v1/feed/cursor", body={"cursor": fields["id"]})
            fields = {}
    time.sleep(1)  # it ended: whoever comes back at once is told why, or goes on


def start_anew(desk, feed):
    """expired: the state as it is; what is not in it is no more."""
    rows, cursor = feed.pages("/v1/feed/snapshot")
    with desk.transaction():
        desk.compare(rows)
        for row in rows:
            desk.put(row["kind"], row["record"], epoch_of(cursor))
        desk.set_cursor(cursor)


def reconcile(desk, feed):
    """epoch: the store was put back from a backup. What is not there goes, what is otherwise is taken anew."""
    rows, cursor = feed.pages("/v1/feed/reconcile")
    with desk.transaction():
        is_other = desk.compare(rows)
    if is_other:
        now, _ = feed.pages("/v1/feed/snapshot")
        with desk.transaction():
            for row in now:
                desk.put(row["kind"], row["record"], epoch_of(cursor))
    with desk.transaction():
        desk.set_cursor(cursor)


WAYS_OUT = {"cursor-expired": start_anew, "cursor-of-another-epoch": reconcile, "cursor-beyond-head": reconcile}


def pull(desk, address, take):
    """Asks with `take` (`take_page` or `follow_stream`) for ever."""
    feed, pause = Feed(address, os.environ["HEYI_TOKEN"]), 1
    step = take if desk.cursor() else start_anew
    while True:
        try:
            step(desk, feed)
            step, pause = take, 1
            continue
        except urllib.error.HTTPError as error:
            kind = problem_of(error)
            print(f"the feed answers {error.code} {kind}", file=sys.stderr)
            if kind in WAYS_OUT and step is take:
                step = WAYS_OUT[kind]
                continue
            # back-off: as long as it asks for.
            wait = error.headers.get("Retry-After", "")
            time.sleep(int(wait) if wait.isdigit() else pause)
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(f"no answer: {type(error).__name__}", file=sys.stderr)
            time.sleep(pause)
        pause = min(pause * 2, 60)


def problem_of(error):
    """The last part of `type` of a problem document (RFC 9457)."""
    try:
        return json.load(error)["type"].rpartition("/")[2]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return ""


# A consumer that is pushed to (Standard Webhooks 1.0)


def is_signed(secrets, headers, body):
    """signature, age: whether one of our secrets signed it, within five minutes."""
    name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > 300:
        return False
    signed = f"{name}.{stamp}.".encode() + body
    good = [b"v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()) for secret in secrets]
    given = [part.encode() for part in headers.get("webhook-signature", "").split()]
    return any(hmac.compare_digest(one, other) for one in good for other in given)


def webhook(desk, address, secret_file):
    with open(secret_file, encoding="ascii") as file:
        secrets = [base64.b64decode(line.strip().removeprefix("whsec_")) for line in file if line.strip()]

    class Receiver(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self):
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length or not is_signed(secrets, self.headers, body):
                return self.answer(400 if len(body) < length else 401)
            event = json.loads(body)
            is_restored = event["type"] == "feed.epoch_changed"
            if is_restored and "HEYI_TOKEN" in os.environ and "HEYI_FEED" in os.environ:
                # epoch: what was taken back is found as well.
                reconcile(desk, Feed(os.environ["HEYI_FEED"], os.environ["HEYI_TOKEN"]))
            elif is_restored:
                # epoch: what follows is never older than what is held.
                with desk.transaction():
                    desk.set_cursor(event["data"]["next"])
            else:
                with desk.transaction():
                    desk.take(event, desk.epoch())
            self.answer(204)  # answer: after it is kept

        def answer(self, status):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    host, _, port = address.rpartition(":")
    server = http.server.HTTPServer((host, int(port)), Receiver)
    print("http://{}:{}/".format(*server.server_address[:2]), flush=True)
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description="A follow-up desk on Heyi's feed.")
    parser.add_argument("--database", default="follow-up.db")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("pull", help="ask the feed; the token comes from HEYI_TOKEN").add_argument("address")
    verbs.add_parser("stream", help="the same as server-sent events").add_argument("address")
    receiver = verbs.add_parser("webhook", help="be pushed to")
    receiver.add_argument("address", help="HOST:PORT; port 0 takes a free one")
    receiver.add_argument("--secret-file", required=True)
    verbs.add_parser("list", help="whom to call")
    verbs.add_parser("state", help="what is held, for `heyi feed rehearse`")
    arguments = parser.parse_args()
    desk = Desk(arguments.database)
    if arguments.verb == "pull":
        pull(desk, arguments.address, take_page)
    elif arguments.verb == "stream":
        pull(desk, arguments.address, follow_stream)
    elif arguments.verb == "webhook":
        webhook(desk, arguments.address, arguments.secret_file)
    elif arguments.verb == "state":
        print(json.dumps(desk.state(), indent=1))
    else:
        calls = "SELECT due, coalesce(name, ''), coalesce(phone, ''), what, record FROM follow_up" \
            " LEFT JOIN visit ON visit.id = record LEFT JOIN lab_report ON lab_report.id = record" \
            " LEFT JOIN person ON person.id = coalesce(visit.one_id, lab_report.one_id) WHERE state = 'open' ORDER BY due"
        for row in desk.rows(calls):
            print(*row, sep="\t")


if __name__ == "__main__":
    main()
