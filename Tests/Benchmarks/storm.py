"""A resize storm: 16 clients come with 4 new buffers each, 60 times a second, and the compositor asks about each."""
import subprocess

from servers import INTROSPECTION, Stage, cpu_time, laptop, pin

CLIENTS, BUFFERS, STEPS_A_SECOND = 16, 4, 60


def measure(folder, options, figures):
    pin()
    storms(folder, options, figures, "introspection", INTROSPECTION)
    storms(folder, options, figures, "no-move imports", {"noMove": "honoured"})


def storms(folder, options, figures, of, kernel):
    rounds = [storm(folder, options, kernel) for _ in range(options.rounds)]
    figures.note(f"{of}, us: p50 {rounds[0]['p50'] / 1000:.0f}, p99 {rounds[0]['p99'] / 1000:.0f}, "
                 f"idle {rounds[0]['idle'] / 1000:.0f}")
    figures.add("storm", [one["p99"] / one["idle"] for one in rounds], of)
    figures.add("storm-middle", [one["p50"] / one["idle"] for one in rounds], of)
    figures.add("storm-looks", [one["looks"] for one in rounds], of)
    figures.add("storm-cpu", [one["cpu"] for one in rounds], of)


def storm(folder, options, kernel):
    """Nanoseconds; looks a buffer; seconds of CPU a second."""
    steps = STEPS_A_SECOND if options.questions >= 1000 else 10
    buffers = CLIENTS * BUFFERS * steps
    with Stage(folder, laptop(buffers, kernel=kernel)) as stage:
        idle = stage.ask("place", min(options.questions, 1000))
        looks, cpu = stage.statistics()["looks"], cpu_time(stage.primed.process)
        done = subprocess.run([f"{folder}/storm", stage.bus.address, str(CLIENTS), str(BUFFERS), str(steps)],
                              check=True, stdout=subprocess.PIPE, text=True)
        cpu = cpu_time(stage.primed.process) - cpu
        looks = stage.statistics()["looks"] - looks
    middle, tail = map(int, done.stdout.split())
    return {"idle": idle, "p50": middle, "p99": tail, "looks": looks / buffers,
            "cpu": cpu / 1e9 / (steps / STEPS_A_SECOND)}
