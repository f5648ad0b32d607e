"""The report's style sheet. Colours are told apart with any kind of colour vision, on white and on black."""

STYLE = """\
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b1f27; --soft: #5d6673; --rule: #dfe3e8;
  --good: #12715b; --bad: #b3261e; --open: #7a5b00;
  --blue: #0b6fb8; --orange: #d9820b; --teal: #0b8f72; --rose: #c2679c; --sky: #5cb3e4; --brick: #c4532a;
  --gray: #a3abb6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101318; --card: #181c23; --ink: #e6e9ee; --soft: #98a2b0; --rule: #2b313b;
    --good: #4bd0ab; --bad: #ff8a80; --open: #e5c454;
    --blue: #4ea8e8; --orange: #f0a63c; --teal: #35c4a0; --rose: #dd8fbe; --sky: #8fd0f5; --brick: #e8805a;
    --gray: #6b7583;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 32px 24px 48px; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; margin-bottom: 20px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 32px 0 8px; }
.state { font-size: 13px; font-weight: 600; padding: 2px 10px; border-radius: 99px; border: 1px solid currentColor; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.reason { flex-basis: 100%; margin: 0; color: var(--soft); overflow-wrap: anywhere; }
.note { margin: 0 0 10px; color: var(--soft); font-size: 13px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 0; }
.tiles div, figure, details, .settings { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.tiles div { padding: 12px 16px; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 0; font-size: 20px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 12px; }
figure { margin: 0; padding: 12px 16px 8px; min-width: 0; }
figure.wide { grid-column: 1 / -1; overflow-x: auto; }
figure.wide svg { min-width: 640px; }
figcaption {
  display: flex; flex-wrap: wrap; justify-content: space-between;
  gap: 4px 16px; font-weight: 600; font-size: 14px;
}
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-weight: 400; font-size: 13px; color: var(--soft); }
.legend i {
  display: inline-block; width: 10px; height: 10px;
  border-radius: 2px; margin-right: 5px; background: currentColor;
}
svg { display: block; width: 100%; height: auto; margin-top: 6px; }
svg text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--rule); }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.dot, rect { fill: currentColor; }
g:hover rect { opacity: .75; }
.c-evaluate, .c-down { color: var(--blue); } .c-train, .c-up { color: var(--orange); }
.c-gather { color: var(--gray); } .c-close { color: var(--teal); } .c-checkpoint { color: var(--rose); }
.c-release { color: var(--sky); }
.c-full { color: var(--teal); } .c-partial { color: var(--sky); } .c-declined { color: var(--gray); }
.c-rejected { color: var(--brick); } .c-timedOut { color: var(--orange); } .c-lost { color: var(--rose); }
details { margin-top: 12px; padding: 10px 16px; }
summary { cursor: pointer; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-top: 8px; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 3px 10px; border-top: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; border-top: 0; }
th:first-child, td:first-child { text-align: left; }
.settings {
  display: grid; grid-template-columns: max-content 1fr; gap: 2px 20px;
  margin: 0; padding: 12px 16px; font-size: 14px;
}
.settings dt { color: var(--soft); } .settings dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 560px) { .settings { grid-template-columns: 1fr; } .settings dd { margin-bottom: 6px; } }
footer { margin-top: 28px; color: var(--soft); font-size: 13px; }
"""
