"""Charts as HTML: SVG that scales from a phone to a wide screen, and tables where those say more.

Colours are classes that the page's style sheet fills in; each chart says in words what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from knownface.evaluation.axes import F64, Axis, axis, number
from knownface.evaluation.results import Chart, Curve, FloatArray, Histogram, Matrix, Scatter

# In units of the drawing; its text has 12 of them, so it can be read on a phone, too.
WIDTH: Final = 440
HEIGHT: Final = 320
LEFT: Final = 62
RIGHT: Final = 14
TOP: Final = 12
BOTTOM: Final = 46

# Beyond so many dots a cloud only grows darker.
MOST_DOTS: Final = 3000
# What a point may lie beside the line that replaces it; a pixel of a screen is more.
_TOLERANCE: Final = 0.15
_BINS: Final = 50


def draw(chart: Chart, position: int) -> str:
    """Return the figure; `position` tells it from the other charts of the page."""
    match chart:
        case Curve():
            return _curve(chart, position)
        case Histogram():
            return _histogram(chart, position)
        case Scatter():
            return _scatter(chart, position)
        case Matrix():
            return _matrix(chart)


@dataclass(frozen=True, slots=True)
class _Plane:
    """Two axes and the rectangle between them."""

    x: Axis
    y: Axis
    x_label: str
    y_label: str

    def points(self, x: FloatArray, y: FloatArray) -> F64:
        """Return where points lie in the drawing, [n, 2]."""
        across = LEFT + self.x.shares(np.asarray(x, np.float64)) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - self.y.shares(np.asarray(y, np.float64)) * (HEIGHT - TOP - BOTTOM)
        return np.column_stack([across, down])

    def frame(self) -> str:
        """Return the grid, the ticks and the labels."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = []
        for axis_, vertical in ((self.x, True), (self.y, False)):
            fine = np.array(axis_.lines)
            coarse = np.array([value for value, _ in axis_.ticks])
            parts += [_line(self._at(v, vertical), vertical, "fine") for v in fine]
            parts += [_line(self._at(v, vertical), vertical, "grid") for v in coarse]
        for value, label in self.x.ticks:
            at = self._at(value, vertical=True)
            parts.append(_text(label, at, bottom + 16, "middle"))
        for value, label in self.y.ticks:
            at = self._at(value, vertical=False)
            parts.append(_text(label, LEFT - 6, at + 4, "end"))
        middle = (TOP + bottom) / 2
        turned = f' transform="rotate(-90 12 {middle:g})"'
        parts.append(_text(self.x_label, (LEFT + right) / 2, HEIGHT - 8, "middle", "label"))
        parts.append(_text(self.y_label, 12, middle, "middle", "label", turned))
        return "".join(parts)

    def _at(self, value: float, vertical: bool) -> float:
        point = np.array([value])
        if vertical:
            return float(self.points(point, np.array([self.y.low]))[0, 0])
        return float(self.points(np.array([self.x.low]), point)[0, 1])


def _curve(chart: Curve, position: int) -> str:
    series = [(name, *_drawable(chart, x, y)) for name, x, y in chart.series]
    plane = _Plane(
        axis((x for _, x, _ in series), log=chart.log_x),
        axis((y for _, _, y in series), log=chart.log_y),
        chart.x_label,
        chart.y_label,
    )
    drawn = [plane.frame()]
    if chart.diagonal:
        drawn.append(_diagonal(plane))
    words = []
    for i, (name, x, y) in enumerate(series):
        line = simplified(plane.points(x, y))
        drawn.append(f'<polyline class="line s{i % 6}" points="{_coordinates(line)}"/>')
        words.append(_range_in_words(name or chart.title, x, y))
    names = [name for name, _, _ in series]
    return _figure(chart.title, position, "".join(drawn), " ".join(words), _legend(names))


def _drawable(chart: Curve, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Leave out what a logarithmic axis squeezes onto its end, but for where the line leaves it."""
    above = np.ones(len(x), bool)
    if chart.log_x:
        above &= x > 0
    if chart.log_y:
        above &= y > 0
    near = above | np.r_[above[1:], False] | np.r_[False, above[:-1]] if above.any() else ~above
    return x[near], y[near]


def _range_in_words(name: str, x: FloatArray, y: FloatArray) -> str:
    if not len(x):
        return f"{name}: no points."
    ends = [f"{number(float(y[k]))} at {number(float(x[k]))}" for k in (0, -1)]
    return f"{name}: from {ends[0]} to {ends[1]}."


def _diagonal(plane: _Plane) -> str:
    """Draw y = x, which is straight on two axes of one kind only."""
    low, high = max(plane.x.low, plane.y.low), min(plane.x.high, plane.y.high)
    if low >= high:
        return ""
    either = plane.x.log or plane.y.log
    values = np.geomspace(low, high, 64) if either and low > 0 else np.linspace(low, high, 64)
    line = simplified(plane.points(values, values))
    return f'<polyline class="diagonal" points="{_coordinates(line)}"/>'


def simplified(points: FloatArray) -> F64:
    """Return the corners of a line, [n, 2]: all other points lie on it, as far as one can see."""
    line = np.asarray(points[np.isfinite(points).all(axis=1)], np.float64)
    if len(line) < 3:
        return line
    # What falls onto one place is one point: curves of a million points become thousands.
    places = np.rint(line / _TOLERANCE)
    moved = np.r_[True, (np.diff(places, axis=0) != 0).any(axis=1)]
    moved[-1] = True
    line = line[moved]
    kept = np.zeros(len(line), bool)
    kept[[0, -1]] = True
    spans = [(0, len(line) - 1)]
    while spans:  # the algorithm of Ramer, Douglas and Peucker
        first, last = spans.pop()
        if last - first < 2:
            continue
        off = _distances(line[first + 1 : last], line[first], line[last])
        if off.max() > _TOLERANCE:
            farthest = first + 1 + int(off.argmax())
            kept[farthest] = True
            spans += [(first, farthest), (farthest, last)]
    return line[kept]


def _distances(points: F64, start: F64, end: F64) -> F64:
    """Return how far points, [n, 2], lie from the stretch between two others."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.asarray(np.hypot(*(points - start - share[:, None] * along).T), np.float64)


def _histogram(chart: Histogram, position: int) -> str:
    marker = [] if chart.marker is None else [np.array([chart.marker])]
    x = axis([*(values for _, values in chart.series), *marker])
    edges = np.linspace(x.low, x.high, _BINS + 1)
    shares = [_shares(values, edges) for _, values in chart.series]
    y = axis([np.array([0.0]), *(100 * share for share in shares)])
    plane = _Plane(x, y, chart.x_label, "share of each, in %")
    drawn = [plane.frame()]
    for i, share in enumerate(shares):
        steps = np.r_[0.0, np.repeat(100 * share, 2), 0.0]
        outline = plane.points(np.repeat(edges, 2), steps)
        drawn.append(f'<polygon class="area s{i % 6}" points="{_coordinates(outline)}"/>')
    if chart.marker is not None:
        at = float(plane.points(np.array([chart.marker]), np.array([y.low]))[0, 0])
        end = at > (LEFT + WIDTH) / 2
        drawn.append(_line(at, vertical=True, kind="marker"))
        drawn.append(
            _text(
                number(chart.marker), at + (-5 if end else 5), TOP + 11, "end" if end else "start"
            )
        )
    names = [f"{name} ({len(values):,})".strip() for name, values in chart.series]
    words = [_middle_in_words(name or chart.title, values) for name, values in chart.series]
    if chart.marker is not None:
        words.append(f"The threshold is {number(chart.marker)}.")
    legend = _legend(names, ["threshold"] if marker else [], kind="area")
    return _figure(chart.title, position, "".join(drawn), " ".join(words), legend)


def _shares(values: FloatArray, edges: F64) -> F64:
    counts = np.histogram(values[np.isfinite(values)], edges)[0]
    return np.asarray(counts / max(1, counts.sum()), np.float64)


def _middle_in_words(name: str, values: FloatArray) -> str:
    if not len(values):
        return f"{name}: none."
    low, middle, high = (number(float(q)) for q in np.nanquantile(values, (0.05, 0.5, 0.95)))
    return f"{name}: {len(values):,}, median {middle}, nine in ten between {low} and {high}."


def _scatter(chart: Scatter, position: int) -> str:
    known = np.isfinite(chart.x) & np.isfinite(chart.y)
    x, y = chart.x[known], chart.y[known]
    both = [x, y]
    across, up = (axis(both), axis(both)) if chart.diagonal else (axis([x]), axis([y]))
    plane = _Plane(across, up, chart.x_label, chart.y_label)
    drawn = [plane.frame()]
    words = f"{len(x):,} dots."
    if chart.diagonal:
        drawn.append(_diagonal(plane))
        if len(x):
            words += f" On average they lie {number(float(np.abs(x - y).mean()))} off the diagonal."
    note = ""
    if len(x) > MOST_DOTS:
        note = f"{MOST_DOTS:,} of {len(x):,} dots are drawn, chosen at random."
        chosen = np.sort(np.random.default_rng(0).permutation(len(x))[:MOST_DOTS])
        x, y = x[chosen], y[chosen]
    radius = 3.5 if len(x) <= 100 else 2.2
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}"/>' for a, b in plane.points(x, y)
    )
    drawn.append(f'<g class="dots s0">{dots}</g>')
    return _figure(chart.title, position, "".join(drawn), words, note and f"<p>{note}</p>")


def _matrix(chart: Matrix) -> str:
    """Return a table: counts, and their share of the row, which the shade stands for."""
    heads = "".join(f'<th scope="col">{_breakable(name)}</th>' for name in chart.columns)
    rows = []
    for name, counts in zip(chart.rows, chart.counts, strict=True):
        total = sum(counts)
        cells = []
        for column, count in zip(chart.columns, counts, strict=True):
            share = count / total if total else 0.0
            kind = "right" if column == name else "wrong"
            cells.append(
                f'<td class="{kind}" style="--share:{share:.3f}"><b>{count:,}</b>'
                f" <small>{_percent(share) if total else '–'}</small></td>"
            )
        rows.append(f'<tr><th scope="row">{_breakable(name)}</th>{"".join(cells)}</tr>')
    return (
        f'<figure class="chart"><div class="scroll" tabindex="0"><table class="matrix">'
        f"<caption>{escape(chart.title)}</caption>"
        f'<thead><tr><th scope="col">label, answer</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></figure>"
    )


def _breakable(name: str) -> str:
    return escape(name).replace("_", "_<wbr>")


def _percent(share: float) -> str:
    digits = 0 if share in (0, 1) else 1
    return f"{100 * share:.{digits}f} %"


def _figure(title: str, position: int, drawing: str, words: str, below: str) -> str:
    label = f"chart-{position}"
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-labelledby="{label}-title {label}-words">'
        f'<title id="{label}-title">{escape(title)}</title>'
        f'<desc id="{label}-words">{escape(words)}</desc>{drawing}</svg>{below}</figure>'
    )


def _legend(names: Sequence[str], lines: Iterable[str] = (), kind: str = "line") -> str:
    entries = [(name, f"{kind} s{i % 6}") for i, name in enumerate(names)]
    entries += [(name, "marker") for name in lines]
    if len(entries) < 2:
        return ""
    shape = {
        "line": '<path d="M0 6h24"/>',
        "area": '<path d="M1 11V3h22v8z"/>',
    }
    items = "".join(
        f'<li><svg viewBox="0 0 24 12" aria-hidden="true"><g class="{style}">'
        f"{shape['area' if style.startswith('area') else 'line']}</g></svg>{escape(name)}</li>"
        for name, style in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _line(at: float, vertical: bool, kind: str) -> str:
    path = f"M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" if vertical else f"M{LEFT} {at:.1f}H{WIDTH - RIGHT}"
    return f'<path class="{kind}" d="{path}"/>'


def _text(words: str, x: float, y: float, anchor: str, kind: str = "tick", turned: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}{turned}>{escape(words)}</text>'


def _coordinates(points: F64) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
