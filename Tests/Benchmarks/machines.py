"""What an answer must not depend on: how many devices there are, and how many buffers are known."""
import contextlib

from servers import INTROSPECTION, Stage, laptop, pin, with_devices

DEVICES = (1, 8, 64)
SMALL, LARGE = 100, 100_000


def measure(folder, options, figures):
    pin()
    devices(folder, options, figures)
    buffers(folder, options, figures)


def devices(folder, options, figures):
    with contextlib.ExitStack() as stack:
        stages = {count: stack.enter_context(Stage(folder, with_devices(count))) for count in (2, *DEVICES)}
        rounds = [{count: stage.ask("place", options.questions) for count, stage in stages.items()}
                  for _ in range(options.rounds)]
    for count in DEVICES:
        figures.add("devices", [one[count] / one[2] for one in rounds], f"n = {count}")


def buffers(folder, options, figures):
    """64 buffers spread over all that are known, in turns."""
    with contextlib.ExitStack() as stack:
        stages = {count: stack.enter_context(Stage(
            folder, laptop(count, kernel=INTROSPECTION), options=["--cache", "131072"])) for count in (SMALL, LARGE)}
        for count, stage in stages.items():
            stage.ask("first", count, window=32)
            cached = stage.statistics()["cached-buffers"]
            assert cached == count, f"{cached} cached buffers"
        rounds = [{count: stage.ask("place", options.questions, buffers=count) for count, stage in stages.items()}
                  for _ in range(options.rounds)]
    figures.add("buffers", [one[LARGE] / one[SMALL] for one in rounds])
