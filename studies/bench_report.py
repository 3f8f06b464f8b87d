"""From the raw rounds to ratios, medians and the figure. What pages say of them is in `studies.words`."""

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
# How many times as many clips a second as the fastest of its rivals.
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
    by_name: dict[str, list[float]] = {}
    for answers in rounds:
        for name, (ours, rivals) in SPEED.items():
            if answers.keys() >= {ours, *rivals}:
                fastest = max(rate(answers[rival]) for rival in rivals)
                by_name.setdefault(name, []).append(rate(answers[ours]) / fastest)
        if answers.keys() >= {"memory-1", "memory-100"}:
            fewest, most = answers["memory-1"], answers["memory-100"]
            by_name.setdefault("memory_growth", []).append(most["peak_mb"] / fewest["peak_mb"])
            by_name.setdefault("time_growth", []).append(rate(fewest) / rate(most))
    return {name: median(values) for name, values in by_name.items()}


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


def alt_text(rounds: list[dict]) -> str:
    """What the figure shows, in words, for readers who do not see it."""
    middles, parts = medians(rounds), []
    for title, names in COMPARISONS.values():
        if names[0] not in middles:
            continue
        answers = {name: middles[name] for name in names}
        if names[0] == "memory-1":
            shown = ", ".join(
                f"{answer['peak_mb']:,.0f} MB for {answer['clips']:,} clips" for answer in answers.values()
            )
            parts.append(f"Peak memory: {shown}.")
        else:
            shown = ", ".join(f"{label(name)} {answer['clips_per_second']:,.0f}" for name, answer in answers.items())
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

    rounds, middles = results["rounds"], medians(results["rounds"])
    panels = [(title, names) for title, names in COMPARISONS.values() if names[0] in middles]
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
        labels = [f"{middles[name]['clips']:,} clips" if memory else label(name) for name in names]
        ax.set_yticks(range(len(names)), labels)
        ax.set(title=title, xlabel="MB" if memory else "clips a second", xlim=(0, 1.25 * ax.dataLim.xmax))
        ax.invert_yaxis()
    return describe(fig, alt_text(rounds))
