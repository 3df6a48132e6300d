"""How many calls Segmind gets as clients grow, with the gateway and without."""

from servers import API_KEY, Ours, Segmind, load

TITLE = "Calls to Segmind as clients grow"
EVERY = 2  # Seconds between a client's looks at its job.
SECONDS = 10


def per_minute(emulator, look):
    before = emulator.calls()
    look()
    return (emulator.calls() - before) * 60 / SECONDS


def rate_of(clients):
    return ["--seconds", SECONDS, "--rate", clients / EVERY]


def directly(segmind, clients):
    return per_minute(segmind.emulator, lambda: load(
        "calls", "--call", "http", "--target", segmind.url.removeprefix("http://"), "--path", "/finetune/request/list", "--header",
        f"x-api-key: {API_KEY}", "--connections", min(clients, 100), "--varying", *rate_of(clients)))


def through(ours, clients, *more):
    return per_minute(ours.emulator, lambda: load(
        "calls", "--call", "get", "--target", ours.address, "--job", ours.job, "--connections", min(clients, 100), "--varying", *more,
        *rate_of(clients)))


def measure(report, options):
    report.say(f"Each client looks at its job every {EVERY} s, for {SECONDS} s, over at most 100 connections; the emulator counts what reaches "
               f"Segmind, here per minute. The gateway polls as often ({EVERY} s). A get takes what is in memory, or asks for at most "
               f"{EVERY} s of age. Segmind's own limits are 5 to 1,000 calls a minute.")
    report.say()
    segmind = Segmind(10)
    polling = ("--active_poll_interval", f"{EVERY}s", "--idle_poll_interval", f"{EVERY}s")
    ours = Ours(10, *polling)
    rows, series = [], {"directly": [], "through the gateway": [], "through it, fresh": []}
    for clients in (1, 10, 100, 1000, 10_000):
        counts = {"directly": directly(segmind, clients), "through the gateway": through(ours, clients),
                  "through it, fresh": through(ours, clients, "--max-staleness-ms", EVERY * 1000)}
        rows.append([clients, *(f"{count:.0f}" for count in counts.values())])
        for name, count in counts.items():
            series[name].append((clients, count))
    segmind.close()
    ours.close()
    report.keep("calls per minute", series)
    report.table(["clients", *series], rows)
    report.plot("polling", "Calls to Segmind", "clients", "calls a minute", series)
    for name in ("through the gateway", "through it, fresh"):
        # The time may hold one poll more or less.
        report.limit(f"{name}: most calls a minute, of any number of clients, against one a poll",
                     max(count for _, count in series[name]) * EVERY / 60, 1.25)
    report.say()
