"""Lines over shares of the pairs, with their spread over seeds, as an SVG of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLOURS = ("#4e79a7", "#76b7b2", "#9c755f", "#b07aa1", "#7f7f7f", "#f28e2b", "#e15759", "#59a14f", "#edc948")
PANEL, HEIGHT, LEFT, TOP, GAP, LEGEND = 250, 210, 46, 34, 56, 20
PER_LINE = 3


@dataclass(frozen=True, kw_only=True)
class Point:
    """A mean over seeds, its standard deviation, and how many there are."""

    mean: float
    sd: float
    num: int = 1


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure.

    Attributes:
        title: Its name.
        lines: Method to its points, one a share, None where there is none.
        level: What guessing gives, where that is known.
    """

    title: str
    lines: Mapping[str, Sequence[Point | None]]
    level: float | None = None


def draw(panels: Sequence[Panel], shares: Sequence[str], *, caption: str) -> str:
    """The picture; a method has one colour in all panels."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colour = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(names)}
    width = LEFT + len(panels) * (PANEL + GAP)
    height = TOP + HEIGHT + 44 + LEGEND * -(-len(names) // PER_LINE)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" role="img" aria-label="{escape(caption)}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for n, panel in enumerate(panels):
        parts += _panel(panel, shares, colour, left=LEFT + n * (PANEL + GAP))
    for n, name in enumerate(names):
        x, y = LEFT + (n % PER_LINE) * (width - LEFT) // PER_LINE, TOP + HEIGHT + 50 + LEGEND * (n // PER_LINE)
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}" stroke="{colour[name]}" stroke-width="3"/>'
        )
        parts.append(f'<text x="{x + 28}" y="{y}" fill="#222222">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def limits(panel: Panel) -> tuple[float, float, float]:
    """Lowest and highest value of an axis, and the step between its ticks."""
    points = [point for line in panel.lines.values() for point in line if point is not None]
    low = min([p.mean - p.sd for p in points] + ([panel.level] if panel.level is not None else []))
    high = max(p.mean + p.sd for p in points)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / s <= 7)
    return step * (low // step), step * -(-high // step), step


def _panel(panel: Panel, shares: Sequence[str], colour: Mapping[str, str], *, left: int) -> list[str]:
    low, high, step = limits(panel)

    def y_of(value: float) -> float:
        return TOP + HEIGHT * (1 - (value - low) / (high - low))

    def x_of(number: int) -> float:
        return left + PANEL * (number + 0.5) / len(shares)

    parts = [_text(panel.title, left, TOP - 14, 'font-weight="bold"')]
    for n in range(round((high - low) / step) + 1):
        value = low + n * step
        parts.append(_rule(left, left + PANEL, y_of(value), 'stroke="#e4e4e4"'))
        parts.append(_text(f"{value:.2f}", left - 6, y_of(value) + 4, 'text-anchor="end"'))
    if panel.level is not None:
        parts.append(_rule(left, left + PANEL, y_of(panel.level), 'stroke="#999999" stroke-dasharray="4 3"'))
    for n, share in enumerate(shares):
        parts.append(_text(share, x_of(n), TOP + HEIGHT + 16, 'text-anchor="middle"'))
    for place, (name, line) in enumerate(panel.lines.items()):
        aside = 3.0 * (place - (len(panel.lines) - 1) / 2)  # so that spreads do not cover one another
        parts += _line([(x_of(n) + aside, point) for n, point in enumerate(line) if point], y_of, colour[name])
    return parts


def _rule(x1: float, x2: float, y: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y:.1f}" {style}/>'


def _text(words: str, x: float, y: float, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#333333" {style}>{escape(words)}</text>'


def _line(points: Sequence[tuple[float, Point]], y_of: Callable[[float], float], colour: str) -> list[str]:
    track = " ".join(f"{x:.1f},{y_of(point.mean):.1f}" for x, point in points)
    parts = [f'<polyline points="{track}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for x, point in points:
        top, bottom = y_of(point.mean + point.sd), y_of(point.mean - point.sd)
        parts.append(f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y_of(point.mean):.1f}" r="3" fill="{colour}"/>')
    return parts
