#!/usr/bin/env python3
"""Digests of what perf itself reads in recordings: the rows of expected.tsv.

usage: perf-digest.py RECORDING…      (needs perf; HOME is set aside so that no cache answers)

One row an event: file, event, samples, and the FNV-1a digest of a line for each sample, in perf's order:
"pid tid time_ns period ip\n", numbers decimal, ip hexadecimal. A row with the event `*chains*` digests the
raw call chains instead, of files with one event that has them: the addresses, hexadecimal, markers left out.
"""
import re, subprocess, sys

def fnv(lines):
    h = 0xcbf29ce484222325
    for line in lines:
        for byte in line.encode():
            h = ((h ^ byte) * 0x100000001b3) & (2**64 - 1)
    return f"{h:016x}"

def perf(*arguments):
    done = subprocess.run(["perf", "script", "-f", *arguments], capture_output=True, text=True, errors="replace",
                          env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"})
    return done.stdout.splitlines()

for path in sys.argv[1:]:
    name = path.rstrip("/").split("/")[-1]
    events = {}
    for line in perf("-i", path, "-G", "--ns", "-F", "event,pid,tid,time,period,ip"):
        m = re.match(r"\s*(-?\d+)/(-?\d+)\s+(\d+)\.(\d{9}):\s+(\d+)\s+(\S+):\s+([0-9a-f]+)\s*$", line)
        if m:
            pid, tid, sec, ns, period, event, ip = m.groups()
            time = int(sec) * 10**9 + int(ns)
            events.setdefault(event, []).append(f"{pid} {tid} {time} {period} {ip}\n")
    for event, lines in events.items():
        print(name, event, len(lines), fnv(lines), sep="\t")
    if len(events) == 1:
        chains, chain = [], None
        for line in perf("-i", path, "-D"):
            if re.search(r"PERF_RECORD_SAMPLE\(", line):
                chain = []
                chains.append(chain)
            elif (m := re.match(r"\.+\s+\d+: ([0-9a-f]{16})\s*$", line)) and chain is not None:
                if int(m[1], 16) < 2**64 - 4095:
                    chain.append(format(int(m[1], 16), "x"))
            elif "PERF_RECORD_" in line:
                chain = None
        if any(chains):
            print(name, "*chains*", len(chains), fnv(" ".join(chain) + "\n" for chain in chains), sep="\t")
