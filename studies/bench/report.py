"""From the raw rounds to medians, the words of the book's pages, and the figure."""

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is compared: the title in the figure, and the contestants in the order in which they run.
COMPARISONS = {
    "clips": ("recordings to clips", ("clips-ours", "clips-librosa")),
    "frontend": ("clips to mel pictures", ("frontend-ours", "frontend-librosa", "frontend-torchaudio")),
    "step": ("training steps", ("step-bare", "step-ours")),
    "loop": ("recordings to a trained model", ("loop-ours", "loop-librosa", "loop-torchaudio")),
    "predict": ("recordings to predictions", ("predict-ours", "predict-librosa")),
    "memory": ("peak memory", ("memory-1", "memory-10", "memory-100")),
}
# How many times as many clips a second as the fastest of the others.
SPEED = {
    "clips_vs_librosa": ("clips-ours", ["clips-librosa"]),
    "frontend_vs_librosa": ("frontend-ours", ["frontend-librosa"]),
    "frontend_vs_torchaudio": ("frontend-ours", ["frontend-torchaudio"]),
    "train_vs_bare_step": ("step-ours", ["step-bare"]),
    "train_vs_copied_loop": ("loop-ours", ["loop-librosa", "loop-torchaudio"]),
    "predict_vs_librosa": ("predict-ours", ["predict-librosa"]),
}
LABELS = {
    "ours": "the course",
    "librosa": "librosa",
    "torchaudio": "torchaudio",
    "bare": "bare steps",
}


def rate(answer: dict) -> float:
    """Clips a second."""
    return answer["clips"] / answer["seconds"]


def ratios(rounds: list[dict]) -> dict[str, float]:
    """The medians over rounds of what was compared within one round.

    rounds: {contestant: {"seconds", "clips", "peak_mb"}} each. `memory_growth` is the peak memory, and `time_growth` the
    seconds a clip, with a hundred times as many clips. What no round holds is left out.
    """
    found: dict[str, list[float]] = {}
    for answers in rounds:
        for name, (ours, others) in SPEED.items():
            if answers.keys() >= {ours, *others}:
                found.setdefault(name, []).append(rate(answers[ours]) / max(rate(answers[other]) for other in others))
        if answers.keys() >= {"memory-1", "memory-100"}:
            small, large = answers["memory-1"], answers["memory-100"]
            found.setdefault("memory_growth", []).append(large["peak_mb"] / small["peak_mb"])
            found.setdefault("time_growth", []).append(rate(small) / rate(large))
    return {name: median(values) for name, values in found.items()}


def medians(rounds: list[dict]) -> dict[str, dict[str, float]]:
    """{contestant: {"seconds", "clips", "clips_per_second", "peak_mb"}}, medians over rounds."""
    names = dict.fromkeys(name for answers in rounds for name in answers)
    runs = {name: [answers[name] for answers in rounds if name in answers] for name in names}
    return {
        name: {
            "seconds": median(answer["seconds"] for answer in answers),
            "clips": answers[0]["clips"],
            "clips_per_second": median(rate(answer) for answer in answers),
            "peak_mb": median(answer["peak_mb"] for answer in answers),
        }
        for name, answers in runs.items()
    }


def prose(results: dict) -> dict[str, str]:
    """The strings for the book's pages, by their names there."""
    words = {f"bench_{name}": f"{value:.2f}" for name, value in ratios(results["rounds"]).items()}
    for name, found in medians(results["rounds"]).items():
        key = f"bench_{name.replace('-', '_')}"
        words[f"{key}_seconds"] = f"{found['seconds']:.1f}"
        words[f"{key}_clips"] = f"{found['clips']:,}"
        words[f"{key}_rate"] = f"{found['clips_per_second']:,.0f}"
        words[f"{key}_mb"] = f"{found['peak_mb']:,.0f}"
    alone = [
        answer["clips"] / answer["predict_seconds"]
        for answers in results["rounds"]
        for answer in answers.values()
        if "predict_seconds" in answer
    ]
    if alone:
        words["bench_predict_alone_rate"] = f"{median(alone):,.0f}"
    made = results["made"]
    return words | {
        "bench_device": made["device"],
        "bench_precision": made["precision"],
        "bench_repeats": str(made["repeats"]),
        "bench_minutes": f"{made['minutes']:.0f}",
        "bench_date": made["date"][:10],
        "bench_torch": made["versions"]["torch"],
        "bench_torchaudio": made["versions"]["torchaudio"],
        "bench_librosa": made["versions"]["librosa"],
        "bench_alt": alt_text(results["rounds"]),
    }


def alt_text(rounds: list[dict]) -> str:
    """What the figure shows, in words, for readers who do not see it."""
    found, parts = medians(rounds), []
    for title, names in COMPARISONS.values():
        if names[0] not in found:
            continue
        if names[0] == "memory-1":
            shown = ", ".join(f"{found[name]['peak_mb']:,.0f} MB for {found[name]['clips']:,} clips" for name in names)
            parts.append(f"Peak memory: {shown}.")
        else:
            shown = ", ".join(f"{label(name)} {found[name]['clips_per_second']:,.0f}" for name in names)
            parts.append(f"{title.capitalize()}, clips a second: {shown}.")
    return f"Bars of the medians, and a dot for each round. {' '.join(parts)}"


def label(name: str) -> str:
    """A contestant's name for readers."""
    return LABELS[name.partition("-")[2]]


def figure(results: dict) -> "Figure":
    """A panel a comparison: a bar for each contestant's median, the rounds as dots; the last one is memory."""
    # Only here: matplotlib in the process that starts the contestants would count as their memory.
    from spokendigits.plots import BLUE, GREY, describe
    from spokendigits.plots import figure as new

    rounds, found = results["rounds"], medians(results["rounds"])
    panels = [(title, names) for title, names in COMPARISONS.values() if names[0] in found]
    rows = -(-len(panels) // 2)
    fig, axes = new(8, 1.7 * rows, rows, 2, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (title, names) in zip(axes.flat, panels, strict=False):
        memory = names[0] == "memory-1"
        for place, name in enumerate(names):
            answers = [answers[name] for answers in rounds if name in answers]
            values = [answer["peak_mb"] if memory else rate(answer) for answer in answers]
            ax.barh(place, median(values), color=BLUE if memory or name.endswith("-ours") else GREY, height=0.6)
            ax.plot(values, [place] * len(values), "o", color="black", markersize=3)
            ax.annotate(f" {median(values):,.0f}", (max(values), place), va="center")
        labels = [f"{found[name]['clips']:,} clips" if memory else label(name) for name in names]
        ax.set_yticks(range(len(names)), labels)
        ax.set(title=title, xlabel="MB" if memory else "clips a second", xlim=(0, 1.25 * ax.dataLim.xmax))
        ax.invert_yaxis()
    return describe(fig, alt_text(rounds))
