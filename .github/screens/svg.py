#!/usr/bin/env python3
"""A terminal's screen, as `tmux capture-pane -e -p` gives it, as SVG: svg.py TITLE COLUMNS <screen >file.svg"""
import html
import re
import sys

COLOURS = ["#3b4252", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d0d0d0"]
WIDTH, HEIGHT, LEFT, TOP = 8.4, 18, 14, 44


def colour(code):
    """The colour of an SGR parameter 0-15."""
    return COLOURS[code % 8] if code != 8 else "#7f848e"


def spans(line):
    """Text with its style: (text, colour or None, bold, dim)."""
    style = {"fg": None, "bold": False, "dim": False}
    for text, codes in re.findall(r"([^\x1b]+)|\x1b\[([0-9;]*)m", line):
        if text:
            yield text, dict(style)
            continue
        codes = [int(code or 0) for code in codes.split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                style.update(fg=None, bold=False, dim=False)
            elif code in (1, 2):
                style["bold" if code == 1 else "dim"] = True
            elif code == 22:
                style.update(bold=False, dim=False)
            elif 30 <= code <= 37:
                style["fg"] = colour(code - 30)
            elif 90 <= code <= 97:
                style["fg"] = colour(code - 90 + 8)
            elif code == 39:
                style["fg"] = None
            elif code in (38, 48) and codes:
                kind = codes.pop(0)
                taken, codes = codes[: 1 if kind == 5 else 3], codes[1 if kind == 5 else 3 :]
                if code == 38 and kind == 5 and taken[0] < 16:
                    style["fg"] = colour(taken[0])


def main(title, columns):
    lines = sys.stdin.read().rstrip().split("\n")
    if lines[-1] == "$":
        lines.pop()
    width, height = round(columns * WIDTH + 2 * LEFT), TOP + HEIGHT * len(lines) + 10
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" aria-label="{html.escape(title)}">')
    print(f'<rect width="{width}" height="{height}" rx="8" fill="#1e222a"/>')
    print(f'<text x="{LEFT}" y="24" fill="#7f848e" font-family="sans-serif" font-size="13">{html.escape(title)}</text>')
    print('<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14" fill="#d0d0d0" xml:space="preserve">')
    for row, line in enumerate(lines):
        column = 0
        for text, style in spans(line):
            if text.strip():
                fill = f' fill="{style["fg"]}"' if style["fg"] else ""
                weight = ' font-weight="bold"' if style["bold"] else ""
                dim = ' opacity="0.6"' if style["dim"] else ""
                x, y, length = LEFT + column * WIDTH, TOP + row * HEIGHT, len(text) * WIDTH
                print(f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{fill}{weight}{dim}>{html.escape(text)}</text>')
            column += len(text)
    print("</g></svg>")


main(sys.argv[1], int(sys.argv[2]))
