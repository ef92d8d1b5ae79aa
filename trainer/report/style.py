"""The report's style sheet: light and dark by the reader's own setting, plain black on white in print."""

STYLE = """
:root{--ground:#fff;--ink:#1b1f24;--faint:#667;--rule:#d5dae1;--panel:#f4f6f9;--good:#2f7fc1;--bad:#d9622b;
--wrong:#b3261e;--right:#20744a;--c0:#1b1f24;--c1:#2f7fc1;--c2:#d9622b;--c3:#2a8f68;--c4:#8a5cc0;--c5:#b08a1e}
@media screen and (prefers-color-scheme:dark){:root{--ground:#15181c;--ink:#e8eaed;--faint:#9aa3ad;--rule:#343a42;
--panel:#1f242a;--good:#5aa9e6;--bad:#f08a52;--wrong:#ff8a80;--right:#6fd3a0;--c0:#f2f4f6;--c1:#5aa9e6;--c2:#f08a52;
--c3:#55c79a;--c4:#b794e6;--c5:#e0bb50}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:24px;background:var(--ground);color:var(--ink);
font:15px/1.45 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:28px;margin:0 0 16px}h1 small{font-size:15px;font-weight:400;color:var(--faint);margin-left:8px}
h2{font-size:20px;margin:34px 0 10px;padding-top:10px;border-top:1px solid var(--rule)}
h3{font-size:15px;margin:0 0 4px}h4{font-size:14px;font-weight:400;margin:0 0 6px}p{margin:6px 0;max-width:80ch}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.92em;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px}
.card{background:var(--panel);border-radius:8px;padding:12px 14px;display:flex;flex-direction:column}
.card b{font-size:25px;line-height:1.15;font-variant-numeric:tabular-nums}
.card small,figcaption,.legend{color:var(--faint)}
.promise{margin-top:14px;font-weight:600;max-width:none}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:20px;margin-top:26px}
figure{margin:0}figcaption{font-size:12.5px}svg{width:100%;height:auto;display:block}
svg text{font-size:11.5px;fill:var(--faint)}svg .strong{fill:var(--ink);font-weight:600;paint-order:stroke;
stroke:var(--ground);stroke-width:3px}
.axis{fill:none;stroke:var(--faint)}.grid{stroke:var(--rule);stroke-width:.6}.line{fill:none;stroke-width:1.7}
.c0{stroke:var(--c0);stroke-width:2.6}.c1{stroke:var(--c1)}.c2{stroke:var(--c2);stroke-dasharray:6 3}
.c3{stroke:var(--c3);stroke-dasharray:2 3}.c4{stroke:var(--c4);stroke-dasharray:9 3 2 3}.c5{stroke:var(--c5)}
.mark{fill:var(--ground);stroke:var(--bad);stroke-width:2.5}
.threshold{stroke:var(--ink);stroke-width:1.6;stroke-dasharray:5 3}
.bar{opacity:.72}.bar.good{fill:var(--good)}.bar.bad{fill:var(--bad)}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 4px 0 8px}
.key.good{background:var(--good);margin-left:0}.key.bad{background:var(--bad)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:60%}
th,td{padding:5px 14px 5px 0;border-bottom:1px solid var(--rule);text-align:left;white-space:nowrap}
thead th{color:var(--faint);font-weight:500;font-size:13px}tbody th{font-weight:500}
tr.total th,tr.total td,tr.calibrated th,tr.calibrated td{font-weight:700}tr.calibrated{background:var(--panel)}
.meter{display:inline-block;width:90px;height:9px;border-radius:3px;background:var(--rule);vertical-align:middle}
.meter i{display:block;height:100%;border-radius:3px;background:var(--good)}
.part{margin:0 0 20px;break-inside:avoid}
.tiles{display:grid;grid-template-rows:auto auto;grid-auto-flow:column;
grid-auto-columns:max-content;gap:6px 8px;
overflow-x:auto}.tiles figure{width:122px}.tiles figure:nth-child(-n+2){width:264px;grid-row:span 2}
.tiles img{width:100%;border-radius:4px;display:block;border:1px solid var(--rule)}
.tiles .ring img{outline:2px solid var(--faint)}
.faint img{opacity:.65}.wrong,.right{font-weight:700;text-transform:uppercase;font-size:12px;letter-spacing:.03em}
.wrong{color:var(--wrong)}.right{color:var(--right)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:5px 18px;margin:0}dt{color:var(--faint)}dd{margin:0}
@media print{body{max-width:none;padding:0;font-size:12px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.cards{grid-template-columns:repeat(6,1fr);gap:6px}.card{padding:8px}.card b{font-size:17px}
.charts{grid-template-columns:repeat(3,1fr)}
.charts figure,table,dl{break-inside:avoid}h2{break-after:avoid}.tiles figure{width:72px}
.tiles figure:nth-child(-n+2){width:150px}.tiles figcaption{font-size:9px}}
"""
