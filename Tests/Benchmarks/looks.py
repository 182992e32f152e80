"""First looks at buffers that nobody asked about before: by introspection, which is over within the call, and by
imports, which devices take their time for. The kernel is simulated; guest.py has a real one."""
from servers import INTROSPECTION, REFERENCE, Stage, laptop, pin

# A simulated device's import takes so long, and of each further one as much longer.
IMPORT_MS, MORE_MS = 20, 5
DEVICES = (1, 2, 4, 8)
LOOKS = 5


def measure(folder, options, figures):
    pin()
    by_introspection(folder, options, figures)
    for count in DEVICES:
        by_imports(folder, options, figures, count)


def by_introspection(folder, options, figures):
    questions = min(options.questions, 2000)
    with Stage(folder, laptop(questions * options.rounds, kernel=INTROSPECTION), reference=True) as stage:
        rounds = [{"ping": stage.ask("ping", questions),
                   "first": stage.ask("first", questions, **{"from": turn * questions}),
                   "reference": stage.ask("first", questions, name=REFERENCE)} for turn in range(options.rounds)]
    figures.note("us: " + ", ".join(f"{name} {value / 1000:.1f}" for name, value in rounds[0].items()))
    figures.add("first", [one["first"] / one["ping"] for one in rounds])
    figures.add("first-reference", [one["first"] / one["reference"] for one in rounds])


def by_imports(folder, options, figures, count):
    """On so many devices that are awake, none of which can be excluded: two GPUs of one driver sign alike."""
    times = [IMPORT_MS + MORE_MS * number for number in range(count)]
    with Stage(folder, slow_machine(times, LOOKS * options.rounds)) as stage:
        stage.ask("place", 1)   # so that each device's abilities are known
        taken = [stage.ask("first", LOOKS, **{"from": turn * LOOKS}) / 1e6 for turn in range(options.rounds)]
    figures.add("import", [one / times[-1] for one in taken], f"n = {count}")


def slow_machine(times, buffers):
    """A GPU a time, whose imports take so many milliseconds; the first one exports all buffers."""
    devices = [{"id": f"gpu{number}", "driver": "amdgpu", "card": number, "render": 128 + number, "dedicated": 1 << 30,
                "importTime": f"{time}ms"} for number, time in enumerate(times)]
    names = ["game", *(f"b{number}" for number in range(buffers))]
    return {"name": "slow", "kernel": {"noMove": "honoured"}, "devices": devices, "buffers": [
        {"id": name, "exporter": "gpu0", "home": "dedicated", "residency": "dedicated"} for name in names]}
