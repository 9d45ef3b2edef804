#!/usr/bin/env python3
"""An application that leads at most once, protected by the epoch, and how it is done wrong.

    application.py --leader http://127.0.0.1:8082/leader/shop/orders --uid UID --storage FILE [--recipe RECIPE]

UID is its pod's (from the downward API), and the storage an SQLite file. With `--recipe pair` it does as the README
says. With `--recipe epoch-alone` it makes the usual mistake. SIGUSR1 makes it stop (SIGSTOP) at the worst moment, when it
has decided to write and has not written yet; SIGCONT wakes it up. `--show` prints what was written, one `UID EPOCH` a line.
"""

import argparse
import json
import os
import signal
import sqlite3
import time
import urllib.request


class Storage:
    """Refuses whatever is older than the newest that it has seen. Without this nothing is protected."""

    def __init__(self, file):
        self.rows = sqlite3.connect(file, timeout=30, isolation_level=None)
        self.rows.execute("CREATE TABLE IF NOT EXISTS fence (one INTEGER PRIMARY KEY, epoch INTEGER)")
        self.rows.execute("INSERT OR IGNORE INTO fence VALUES (1, 0)")
        self.rows.execute("CREATE TABLE IF NOT EXISTS written (uid TEXT, epoch INTEGER)")

    def write(self, uid, epoch):
        self.rows.execute("BEGIN IMMEDIATE")
        # The comparison and what it guards are one transaction.
        is_newest = self.rows.execute("UPDATE fence SET epoch = ?1 WHERE epoch <= ?1", (epoch,)).rowcount == 1
        if is_newest:
            self.rows.execute("INSERT INTO written VALUES (?, ?)", (uid, epoch))
        self.rows.execute("COMMIT")
        return is_newest

    def written(self):
        return self.rows.execute("SELECT uid, epoch FROM written ORDER BY rowid").fetchall()


def ask(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def until_leading(url, uid):
    """The epoch of a term of our own: both halves of the pair come from one answer."""
    told = ask(url)
    while told["uid"] != uid:
        told = ask(f"{url}?after={told['after']}")
    return told["epoch"]


def lead(url, uid, storage, recipe, is_to_stop):
    """One term, until a write is refused."""
    pinned = until_leading(url, uid)
    say("leads in", pinned)
    while True:
        time.sleep(0.02)
        if is_to_stop.pop("now", False):
            say("stops in", pinned)
            os.kill(os.getpid(), signal.SIGSTOP)
        if recipe == "pair":
            epoch = pinned
        else:
            # Wrong. The newest epoch may be that of somebody else's term; only together with the UID does it say whose.
            epoch = ask(url)["epoch"]
        if not storage.write(uid, epoch):
            say("was refused in", epoch)
            return
        say("wrote in", epoch)


def say(*words):
    print(*words, flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--storage", required=True)
    arguments.add_argument("--leader", help="the URL of /leader/NAMESPACE/SERVICE")
    arguments.add_argument("--uid", help="of this pod")
    arguments.add_argument("--recipe", choices=["pair", "epoch-alone"], default="pair")
    arguments.add_argument("--show", action="store_true")
    given = arguments.parse_args()
    storage = Storage(given.storage)
    if given.show:
        for uid, epoch in storage.written():
            say(uid, epoch)
        return
    is_to_stop = {}
    signal.signal(signal.SIGUSR1, lambda *_: is_to_stop.update(now=True))
    while True:
        lead(given.leader, given.uid, storage, given.recipe, is_to_stop)


if __name__ == "__main__":
    main()
