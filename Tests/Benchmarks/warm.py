"""A buffer that is known, on both kinds of bus: beside the C reference, a Ping, and other questions about it."""
import private_bus
from servers import PRIMED, REFERENCE, Stage, cpu_time, laptop, loop_time, pin


def measure(folder, options, figures):
    pin()
    for kind in private_bus.KINDS:
        with Stage(folder, laptop(64), kind, reference=True) as stage:
            rounds = [one_round(stage, options.questions) for _ in range(options.rounds)]
        report(figures, kind, rounds)


def one_round(stage, questions):
    """Nanoseconds, by what was asked."""
    taken = {name: stage.ask(name, questions) for name in ("ping", "place", "verdicts", "candidates", "advise")}
    taken["reference"] = stage.ask("place", questions, name=REFERENCE)
    taken["reference-ping"] = stage.ask("ping", questions, name=REFERENCE)
    for items in (16, 64):
        taken[f"many-{items}"] = stage.ask("many", max(questions // items, 20), items=items)
    taken["cpu"], taken["loop"] = cpu_of(stage, PRIMED, questions)
    taken["reference-cpu"], _ = cpu_of(stage, REFERENCE, questions)
    return taken


def cpu_of(stage, name, questions):
    """Nanoseconds a question at window 32: of all threads, and of the first one."""
    process = stage.process(name)
    before = cpu_time(process), loop_time(process)
    stage.ask("place", questions, window=32, name=name)
    return (cpu_time(process) - before[0]) / questions, (loop_time(process) - before[1]) / questions


def report(figures, kind, rounds):
    first = rounds[len(rounds) // 2]
    figures.note(f"{kind}, us: " + ", ".join(f"{name} {value / 1000:.1f}" for name, value in first.items()))

    def ratios(of, to):
        return [one[of] / one[to] for one in rounds]
    figures.add("warm", ratios("place", "reference"), kind)
    # Within a round the two pings differ by less than what is added, but not always by much less: their mean.
    figures.add("added", [added(one) for one in rounds], kind)
    figures.add("window", ratios("cpu", "reference-cpu"), kind)
    figures.add("closer", [(one["cpu"] - one["loop"]) / one["loop"] for one in rounds], kind)
    figures.add("verdicts", ratios("verdicts", "place"), kind)
    figures.add("candidates", ratios("candidates", "place"), kind)
    figures.add("many-16", [one["many-16"] / 16 / one["place"] for one in rounds], kind)
    figures.add("many-64", [one["many-64"] / 64 / one["place"] for one in rounds], kind)
    figures.add("advise", ratios("advise", "place"), kind)


def added(one):
    ping = (one["ping"] + one["reference-ping"]) / 2
    return (one["place"] - ping) / max(one["reference"] - ping, 1)
