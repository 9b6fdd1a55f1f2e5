"""How the page looks."""

COLOURS = {
    "keep": "#2f9e5b", "relabel": "#2f6fdb", "exclude": "#d2453d", "turn": "#d99411",
    "merge": "#8a4fd0",
}  # fmt: skip
EDGES = "\n".join(
    f".row.{name} {{ --edge: {colour}; }} .tag.{name} {{ color: {colour}; }} "
    f".act.{name}:hover {{ color: {colour}; border-color: {colour}; }}"
    for name, colour in COLOURS.items()
)
CSS = f"""
:root {{ --ink: #1d2127; --soft: #6a727d; --line: #e3e5e8; --paper: #f5f5f3; --card: #fff;
  --cursor: #1d2127; --tint: #eef4ff; }}
body {{ background: var(--paper); color: var(--ink); overflow: hidden;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
.nicegui-content {{ padding: 0 !important; gap: 0 !important; height: 100vh; display: flex;
  flex-flow: row nowrap !important; align-items: stretch !important; }}
.side {{ width: 250px; flex: none; padding: 20px 14px; overflow-y: auto; background: var(--card);
  border-right: 1px solid var(--line); display: flex; flex-direction: column; gap: 2px; }}
.side h1 {{ font-size: 17px; font-weight: 650; line-height: 1.2; margin: 0 8px 10px; }}
.soft {{ color: var(--soft); font-size: 12.5px; }}
.whole {{ margin: 6px 8px 14px; }}
.bar {{ height: 4px; border-radius: 2px; background: var(--line); overflow: hidden;
  margin-top: 5px; }}
.bar > div {{ height: 100%; background: #2f9e5b; transition: width .2s; }}
.kind {{ padding: 6px 8px 7px; border-radius: 7px; cursor: pointer; }}
.kind:hover {{ background: var(--paper); }}
.kind.on {{ background: var(--ink); color: #fff; }}
.kind.on .soft {{ color: #b9bfc8; }} .kind.on .bar {{ background: #4a515b; }}
.kind .name {{ display: flex; justify-content: space-between; gap: 8px; font-weight: 550; }}
.main {{ flex: 1; min-width: 0; display: flex; flex-direction: column; }}
.top {{ flex: none; display: flex; align-items: center; gap: 10px; padding: 12px 22px;
  border-bottom: 1px solid var(--line); background: var(--card); }}
.rows {{ flex: 1; overflow-y: auto; padding: 16px 22px 40px; display: flex;
  flex-direction: column; gap: 14px; scroll-padding: 16px; }}
.row {{ --edge: var(--line); background: var(--card); border-radius: 10px; flex: none;
  border: 1px solid var(--line); border-left: 7px solid var(--edge); padding: 14px;
  display: grid; grid-template-columns: 390px minmax(220px, 1fr) 250px 250px; gap: 18px;
  cursor: default; }}
{EDGES}
.row.pair {{ grid-template-columns: 390px minmax(220px, 1fr) 390px; }}
.row.split {{ border-left-style: double; }}
.row.at {{ box-shadow: 0 0 0 2px var(--cursor); }}
.row.picked {{ background: var(--tint); }}
.frame {{ position: relative; background: #ecebe8; border-radius: 6px; overflow: hidden;
  display: flex; align-items: center; justify-content: center; }}
.frame.large {{ height: 262px; }} .frame.small {{ height: 176px; }}
.frame img {{ width: 100%; height: 100%; object-fit: contain; cursor: zoom-in; }}
.frame.out img {{ filter: grayscale(1); opacity: .35; }}
.badge {{ position: absolute; left: 8px; top: 8px; background: rgba(29,33,39,.82); color: #fff;
  padding: 1px 8px; border-radius: 9px; font-size: 12px; }}
.tick {{ position: absolute; right: 8px; top: 8px; width: 24px; height: 24px; border-radius: 6px;
  border: 2px solid #fff; background: rgba(29,33,39,.35); color: transparent; line-height: 20px;
  text-align: center; cursor: pointer; }}
.row.picked .tick {{ background: #2f6fdb; color: #fff; }}
.badge:empty, .tag:empty, .warn:empty {{ display: none; }}
.caption {{ margin-top: 6px; font-size: 12.5px; color: var(--soft); overflow-wrap: anywhere; }}
.caption b {{ color: var(--ink); font-weight: 550; display: block; }}
.facts {{ min-width: 0; display: flex; flex-direction: column; gap: 5px; }}
.above {{ display: flex; gap: 8px; align-items: center; }}
.chip {{ font-size: 12px; padding: 1px 8px; border-radius: 9px; background: var(--paper);
  border: 1px solid var(--line); }}
.sure {{ width: 90px; height: 5px; border-radius: 3px; background: var(--line); overflow: hidden;
  flex: none; }}
.sure > div {{ height: 100%; background: #2f6fdb; }}
.label {{ font-size: 19px; font-weight: 650; line-height: 1.25; overflow-wrap: anywhere; }}
.reason {{ color: var(--soft); overflow-wrap: anywhere; }}
.id {{ color: var(--soft); font-size: 12px; overflow-wrap: anywhere; margin-top: auto; }}
.choice {{ display: flex; align-items: center; gap: 8px; cursor: pointer; padding: 3px 6px;
  margin-left: -6px; border-radius: 6px; width: fit-content; }}
.choice:hover {{ background: var(--paper); }}
.tag {{ font-weight: 600; }}
.warn {{ color: #a3620a; font-size: 12.5px; }}
.acts {{ display: flex; flex-wrap: wrap; gap: 6px; margin-top: 4px; }}
.act {{ border: 1px solid var(--line); border-radius: 7px; padding: 3px 9px; cursor: pointer;
  user-select: none; white-space: nowrap; background: var(--card); }}
.act:hover {{ border-color: var(--ink); }}
.act.on {{ background: var(--ink); color: #fff; }}
kbd {{ font: 600 11px/1 ui-monospace, Menlo, Consolas, monospace; background: var(--paper);
  color: var(--ink); border: 1px solid var(--line); border-bottom-width: 2px; border-radius: 4px;
  padding: 2px 5px; min-width: 18px; text-align: center; display: inline-block; }}
.grow {{ flex: 1; }}
.said {{ color: var(--soft); }} .said.bad {{ color: #d2453d; font-weight: 600; }}
.veil {{ position: fixed; inset: 0; background: rgba(20,22,26,.55); z-index: 50; display: flex;
  align-items: center; justify-content: center; }}
.veil.photo {{ background: rgba(14,15,18,.93); cursor: zoom-out; }}
.veil.photo img {{ width: 96vw; height: 94vh; object-fit: contain; }}
.sheet {{ background: var(--card); border-radius: 12px; padding: 20px 22px; width: 560px;
  max-height: 88vh; overflow-y: auto; box-shadow: 0 20px 60px rgba(0,0,0,.3); }}
.typed {{ display: flex; align-items: center; font-size: 22px; padding: 4px 2px 6px;
  border-bottom: 2px solid var(--ink); min-height: 44px; margin: 8px 0 10px;
  white-space: pre-wrap; overflow-wrap: anywhere; }}
.typed::after {{ content: ""; border-left: 2px solid #2f6fdb; margin-left: 1px; height: 26px; }}
.match {{ padding: 6px 10px; border-radius: 7px; cursor: pointer; overflow-wrap: anywhere; }}
.match:hover {{ background: var(--paper); }} .match.on {{ background: #2f6fdb; color: #fff; }}
.keys {{ display: grid; grid-template-columns: max-content 1fr; gap: 7px 16px; margin-top: 10px; }}
.empty {{ margin: 18vh auto 0; text-align: center; color: var(--soft); font-size: 16px; }}
@media (max-width: 1500px) {{ .side {{ width: 210px; }}
  .row {{ grid-template-columns: 320px minmax(190px, 1fr) 200px 200px; gap: 14px; }}
  .row.pair {{ grid-template-columns: 320px minmax(190px, 1fr) 320px; }}
  .frame.large {{ height: 220px; }} .frame.small {{ height: 145px; }} }}
"""
KEYS = """
<script>
// what is a key of the page neither scrolls it nor types into a button
document.addEventListener("keydown", (event) => {
  const own = [" ", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown",
    "Home", "End", "Enter", "Backspace", "'", "/"];
  if (own.includes(event.key) && !["INPUT", "TEXTAREA"].includes(event.target.tagName))
    event.preventDefault();
});
</script>
"""
