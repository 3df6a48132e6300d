"""Line charts as SVG, without a library: small files that any browser shows."""

import html
import math

WIDTH, HEIGHT = 780, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 310, 36, 50
COLOURS = ("#1b6ac9", "#d1495b", "#2e933c", "#8a5a9e", "#c77d0a", "#4a4a4a", "#1d9a9a")


class Axis:
    """Maps values to pixels, by their logarithm or evenly from zero."""

    def __init__(self, values, log, first, last):
        self.log = log and min(values) > 0
        self.low = 10 ** math.floor(math.log10(min(values))) if self.log else min(0, *values)
        self.high = 10 ** math.ceil(math.log10(max(values)) - 1e-9) if self.log else max(values) * 1.05
        if self.high <= self.low:
            self.high = self.low * 10 if self.log else self.low + 1
        self.first, self.last = first, last

    def at(self, value):
        scale = (lambda v: math.log10(max(v, self.low))) if self.log else (lambda v: v)
        part = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.first + part * (self.last - self.first)

    def ticks(self):
        if self.log:
            low, high = round(math.log10(self.low)), round(math.log10(self.high))
            return [10.0**power for power in range(low, high + 1)]
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
        while (self.high - self.low) / step > 6:
            step *= 2 if str(step)[0] != "2" else 2.5
        return [self.low + step * i for i in range(int((self.high - self.low) / step) + 1)]


def lines(title, x_label, y_label, series, log_x=True, log_y=True):
    """`series`: points (x, y) by name. Returns the SVG's text."""
    points = [point for line in series.values() for point in line]
    x_axis = Axis([x for x, _ in points], log_x, LEFT, WIDTH - RIGHT)
    y_axis = Axis([y for _, y in points], log_y, HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{html.escape(title)}</text>']
    for tick in x_axis.ticks():
        x = x_axis.at(tick)
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#e2e2e2"/>'
                   f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:,.10g}</text>')
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e2e2e2"/>'
                   f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,.10g}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(x_label)}</text>'
               f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">{html.escape(y_label)}</text>')
    for i, (name, line) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        out.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{TOP + 4 + 20 * i}" width="12" height="12" fill="{colour}"/>'
                   f'<text x="{WIDTH - RIGHT + 30}" y="{TOP + 14 + 20 * i}">{html.escape(name)}</text>')
    return "\n".join(out) + "\n</svg>\n"
