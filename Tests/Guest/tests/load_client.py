"""Asks primed about the DMA-BUF at an inherited fd until a line comes on stdin, then prints: answers,
longest run of errors in a row, and each device that was ever named. For test_service.
"""
import select
import sys

import dbus

import broker

fd = int(sys.argv[1])
client = broker.Broker()
answers = run = worst = 0
devices = set()
print("asking", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        devices.add(int(client.place(fd).device))
        answers, run = answers + 1, 0
    except dbus.DBusException:
        run += 1
        worst = max(worst, run)
print(answers, worst, *sorted(devices))
