// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/findings.h"
#include "bench/groups.h"
#include "bench/published.h"
#include "bench/report.h"
#include "bench/svg.h"
#include "bench/table.h"
#include "bench/text.h"

namespace metalconv::bench {
namespace {

using std::string;

// A phone gets its own drawing of each chart, so that letters keep their size.
constexpr int kBroad = 1072, kNarrow = 350;

const char* const kStyle = R"(
:root{color-scheme:light;--ground:#fcfcfa;--card:#f3f3ef;--ink:#1c1e21;--soft:#5f656d;--line:#e0e0da;
--accent:#0061b0;--bad:#b3261e;--good:#0061b0;--warn:#fff4d6;
--basic0:#8b929b;--basic1:#5d636b;--basic2:#b3b8bf;--optimized0:#0069b8;--optimized1:#0f8f86;--optimized2:#4b4fc4;
--vendor0:#d9730d;--vendor1:#a3368f;--vendor2:#7d6608;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media(prefers-color-scheme:dark){:root:not([data-theme=light]){DARK}}
:root[data-theme=dark]{DARK}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 var(--sans);-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:40px 24px 64px}
.kicker{color:var(--soft);font-size:14px;margin:0}
h1{font-size:32px;line-height:1.2;margin:4px 0 12px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:21px;margin:52px 0 12px;padding-top:16px;border-top:1px solid var(--line)}
h3{font-size:16px;margin:22px 0 4px}
p{margin:0 0 12px}ul{margin:0 0 12px;padding-left:20px}li{margin:4px 0;overflow-wrap:anywhere}
.lede{font-size:20px;line-height:1.45;max-width:40em}
li,.hint{max-width:54em}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin:24px 0}
.figure{background:var(--card);border-radius:10px;padding:14px 16px}
.figure b{display:block;font-size:26px;line-height:1.25;color:var(--accent);font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.figure.alarm b{color:var(--bad)}.figure span{display:block;font-size:14px}.figure small{color:var(--soft);font-size:13px}
.warn{background:var(--warn);border-radius:8px;padding:10px 14px;margin:0 0 8px;font-size:15px}
.hint{color:var(--soft);font-size:14px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:14px;margin:0 0 8px}
.legend span{display:inline-flex;align-items:center;gap:6px}
svg{max-width:100%;height:auto;display:block}.legend svg{display:inline}
svg.narrow{display:none}
.wide{overflow-x:auto;margin:0 0 14px}
table{border-collapse:collapse;font-size:13px;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 7px;border-bottom:1px solid var(--line);white-space:nowrap}
th{white-space:normal;vertical-align:bottom;color:var(--soft);font-weight:600;text-align:left}.n{text-align:right}
.t{max-width:28em;overflow:hidden;text-overflow:ellipsis}
th[data-sort]{cursor:pointer}th[aria-sort=ascending]::after{content:" \2191"}th[aria-sort=descending]::after{content:" \2193"}
.muted{color:var(--soft)}.bad{color:var(--bad);font-weight:600}.best{color:var(--good);font-weight:600}
.meter{background:linear-gradient(to right,color-mix(in srgb,var(--accent) 18%,transparent) var(--m),transparent 0)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;font-size:14px;margin:0 0 18px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--card);border-radius:8px;padding:12px 14px;overflow-x:auto;font:13px/1.5 var(--mono);white-space:pre-wrap;overflow-wrap:anywhere}
footer{color:var(--soft);font-size:13px;margin-top:48px}
@media(max-width:640px){main{padding:22px 14px 40px}h1{font-size:26px}.lede{font-size:17px}
.figures{grid-template-columns:1fr 1fr;gap:8px}.figure{padding:10px 12px}.figure b{font-size:19px}
svg.broad{display:none}svg.narrow{display:block}dl{grid-template-columns:1fr}dt{margin-top:4px}}
@media print{h2{break-after:avoid}svg,tr{break-inside:avoid}}
)";

const char* const kDark =
    "color-scheme:dark;--ground:#15171a;--card:#1f2226;--ink:#e7e8ea;--soft:#a0a7b0;--line:#30353b;"
    "--accent:#6cb6ff;--bad:#ff8a80;--good:#6cb6ff;--warn:#3a3115;"
    "--basic0:#8f98a3;--basic1:#c3c9d1;--basic2:#68707a;--optimized0:#58a6f5;--optimized1:#3fc9bb;"
    "--optimized2:#a3a6ff;--vendor0:#f39a45;--vendor1:#e283cf;--vendor2:#d8bd4a";

// Sorts tables by a click on a header; all is readable without it.
const char* const kScript = R"(
document.querySelectorAll('th').forEach(th=>{
  th.dataset.sort='';
  th.tabIndex=0;
  const sort=()=>{
    const up=th.getAttribute('aria-sort')!=='ascending',i=th.cellIndex,body=th.closest('table').tBodies[0];
    th.parentNode.querySelectorAll('th').forEach(o=>o.removeAttribute('aria-sort'));
    th.setAttribute('aria-sort',up?'ascending':'descending');
    const key=r=>{const t=r.cells[i].textContent,v=parseFloat(t);return th.className==='n'?(isNaN(v)?-Infinity:v):t};
    [...body.rows].sort((a,b)=>{const x=key(a),y=key(b);return (x<y?-1:x>y?1:0)*(up?1:-1)}).forEach(r=>body.append(r));
  };
  th.addEventListener('click',sort);
  th.addEventListener('keydown',e=>{if(e.key==='Enter')sort()});
});
)";

string style() {
  string text = kStyle;
  for (std::size_t at; (at = text.find("DARK")) != string::npos;) text.replace(at, 4, kDark);
  return text + chart_style();
}

string paragraph(std::string_view css, const string& text) {
  return fmt::format("<p class=\"{}\">{}</p>\n", css, escape_html(text));
}

string bullets(const std::vector<string>& sentences) {
  string text = "<ul>\n";
  for (const string& s : sentences) text += "<li>" + escape_html(s) + "</li>\n";
  return text + "</ul>\n";
}

string heading(const string& text) { return "<h2>" + escape_html(text) + "</h2>\n"; }

// ---- charts from rows

/// The charts of one device.
class Charts {
 public:
  Charts(const Result& result, const std::vector<Group>& groups, const string& device, bool several)
      : result_(result),
        groups_(groups),
        axis_(axis_of(groups)),
        device_(device),
        on_(several ? " on " + device : ""),
        lines_(lines_of(groups, device)) {}

  string all() const {
    const bool timed = std::any_of(groups_.begin(), groups_.end(),
                                   [&](const Group& g) { return fastest(g, device_); });
    return timed ? time_chart() + speedup_chart() + roofline_chart() : "";
  }

 private:
  /// Resolutions are bars, as in the published report; other sweeps are curves.
  bool curves() const { return axis_.is_sweep() && axis_.kind != Axis::Kind::resolution; }

  string time_chart() const {
    const auto lines = chart_lines([](const Row& row, Mark* mark) {
      const Interval& t = *row.time_us;
      *mark = {true, t.median, t.low, t.high, time_text(t.median), {}, false};
    });
    // Bars must begin at 0, which hides what is 30 times shorter than the longest.
    Scale scale{curves() || spread(lines) > 30, 0, time_tick, "median time, 95 % interval"};
    return section(fmt::format("Time by {}{}", axis_.noun, on_), "Shorter is better.", lines,
                   scale);
  }

  string speedup_chart() const {
    auto lines = chart_lines([](const Row& row, Mark* mark) {
      if (!row.speedup_vs_vendor) return;
      const Interval& s = *row.speedup_vs_vendor;
      *mark = {true, s.median, s.low, s.high, factor_text(s.median), {}, false};
    });
    const bool any = std::any_of(lines.begin(), lines.end(), [](const ChartLine& line) {
      return std::any_of(line.marks.begin(), line.marks.end(),
                         [](const Mark& m) { return m.present; });
    });
    if (!any) return {};
    // Far below 1x basic would press the others together; the table has its figures.
    const auto is_basic = [](const ChartLine& l) { return l.role == Implementation::basic; };
    const bool dropped = groups_.size() > 3 && std::erase_if(lines, is_basic) > 0;
    const string hint = "Above 1x is faster than the fastest verified vendor row.";
    Scale scale{true, 1, factor_tick, "time(vendor) / time(row), 95 % interval"};
    return section(fmt::format("Speed-up against the vendor by {}{}", axis_.noun, on_),
                   dropped ? hint + " Basic is in the table." : hint, lines, scale);
  }

  static string factor_tick(double factor) { return short_number(factor, 3) + "x"; }
  static string time_tick(double us) {
    if (us < 1e3) return short_number(us, 3) + " us";
    if (us < 1e6) return short_number(us / 1e3, 3) + " ms";
    return short_number(us / 1e6, 3) + " s";
  }

  string section(const string& title, const string& hint, const std::vector<ChartLine>& lines,
                 const Scale& scale) const {
    const bool legend = curves() || groups_.size() > 8;
    string text = heading(title) + paragraph("hint", hint) + (legend ? legend_of(lines) : "");
    for (int width : {kBroad, kNarrow}) {
      if (curves())
        text += draw(CurveChart{title, axis_.values, labels(), axis_.noun, lines, scale}, width);
      else
        text += draw(CategoryChart{title, labels(), lines, scale}, width);
    }
    return text;
  }

  std::vector<string> labels() const {
    std::vector<string> labels;
    for (const Group& group : groups_) labels.push_back(printable(group.label));
    if (axis_.kind == Axis::Kind::channels || axis_.kind == Axis::Kind::batch)
      for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = significant(axis_.values[i], 12);
    return labels;
  }

  template <class Fill>
  std::vector<ChartLine> chart_lines(const Fill& fill) const {
    std::vector<ChartLine> chart;
    for (const Line& line : lines_) {
      ChartLine drawn{printable(line.label), line.implementation, line.variant, {}};
      for (const Row* row : line.cells) {
        Mark mark;
        if (row && is_timed(*row)) fill(*row, &mark);
        if (row && !mark.present) mark.text = absent(*row);
        mark.alarming = row && row->verdict == Verdict::failed;
        if (row) mark.tooltip = tooltip(*row);
        drawn.marks.push_back(std::move(mark));
      }
      chart.push_back(std::move(drawn));
    }
    return chart;
  }

  static string absent(const Row& row) {
    if (row.verdict == Verdict::failed) return "FAILED";
    return row.verdict == Verdict::skipped ? "skipped" : "no figure";
  }

  static string tooltip(const Row& row) {
    string text = fmt::format("{} on {}", line_label(row), row.name);
    if (!is_timed(row)) return fmt::format("{}: {}. {}", text, to_string(row.verdict), row.reason);
    text += fmt::format(": {} ({} to {}), {} GFLOP/s", time_text(row.time_us->median),
                        time_text(row.time_us->low), time_text(row.time_us->high),
                        significant(row.gflops, 3));
    if (row.roofline_percent > 0)
      text += fmt::format(", {} of the roofline", percent_text(row.roofline_percent));
    if (row.speedup_vs_vendor)
      text += fmt::format(", {} as fast as the vendor", factor_text(*row.speedup_vs_vendor));
    return text;
  }

  static double spread(const std::vector<ChartLine>& lines) {
    double low = HUGE_VAL, high = 0;
    for (const ChartLine& line : lines)
      for (const Mark& mark : line.marks)
        if (mark.present) low = std::min(low, mark.value), high = std::max(high, mark.value);
    return high / low;
  }

  static string legend_of(const std::vector<ChartLine>& lines) {
    string text = "<div class=\"legend\">";
    for (const ChartLine& line : lines)
      text += fmt::format("<span>{}{}</span>", legend_marker(line.role, line.variant),
                          escape_html(line.label));
    return text + "</div>\n";
  }

  string roofline_chart() const {
    RooflineChart chart;
    chart.title = "Roofline" + on_;
    double memory = 0;  // the largest working set is the memory's, smaller ones are of caches
    for (const Roof& roof : result_.roofs)
      if (roof.device == device_) memory = std::max(memory, roof.working_set_bytes);
    for (const Roof& roof : result_.roofs)
      if (roof.device == device_ && roof.rate > 0 && std::isfinite(roof.rate)) {
        const bool bytes = roof.unit == "B/s";
        chart.roofs.push_back({fmt::format("{} {}", roof.name, rate_text(roof.rate, roof.unit)),
                               roof.rate, bytes, bytes && roof.working_set_bytes < memory});
      }
    std::vector<ChartLine> legend;
    for (const Line& line : lines_) {
      legend.push_back({line.label, line.implementation, line.variant, {}});
      for (std::size_t i = 0; i < line.cells.size(); ++i) {
        const Row* row = line.cells[i];
        if (!row || !is_timed(*row) || !(row->bytes > 0) || !(row->executed_flops > 0)) continue;
        chart.points.push_back({printable(groups_[i].label), tooltip(*row), line.implementation,
                                line.variant, row->executed_flops / row->bytes, row->gflops * 1e9,
                                row->roof_us > 0 ? row->executed_flops / row->roof_us * 1e6 : 0});
      }
    }
    if (chart.roofs.empty() || chart.points.empty()) return {};
    return heading(chart.title) +
           paragraph("hint",
                     "Measured roofs of this run; dashed ones are of caches. The short bar above "
                     "an optimized point is the roof for its mix of reads and writes.") +
           legend_of(legend) + draw(chart, kBroad) + draw(chart, kNarrow);
  }

  const Result& result_;
  const std::vector<Group>& groups_;
  Axis axis_;
  string device_, on_;
  std::vector<Line> lines_;
};

// ---- sections

string head(const Result& result, const Findings& found) {
  string text = paragraph(
      "kicker", "metalconv report" + (result.started.empty() ? "" : ", " + result.started));
  text += "<h1>" + escape_html(sentence_case(found.title)) + "</h1>\n";
  if (!found.headline.empty()) text += paragraph("lede", found.headline);
  if (!found.figures.empty()) text += "<div class=\"figures\">\n";
  for (const Figure& f : found.figures)
    text += fmt::format("<div class=\"figure{}\"><b>{}</b><span>{}</span><small>{}</small></div>\n",
                        f.bad ? " alarm" : "", escape_html(f.value), escape_html(f.label),
                        escape_html(f.note));
  if (!found.figures.empty()) text += "</div>\n";
  if (result.interrupted)
    text += paragraph("warn", "Interrupted: only the problems completed so far are here.");
  for (const string& warning : result.warnings) text += paragraph("warn", warning);
  return text;
}

string failures(const Result& result) {
  string text;
  for (const Row& row : result.rows) {
    if (row.verdict != Verdict::failed) continue;
    text += fmt::format("<p><span class=\"bad\">FAILED</span> {} on {} ({}): {}</p>\n",
                        escape_html(line_label(row)), escape_html(row.name),
                        escape_html(row.device), escape_html(row.reason));
    if (!row.reproducer.empty()) text += "<pre>" + escape_html(row.reproducer) + "</pre>\n";
  }
  return text;
}

string results(const Result& result) {
  if (result.rows.empty()) return heading("Results") + paragraph("", "No row was completed.");
  return heading("Results") + to_html(results_table(result)) + failures(result);
}

string published(const Result& result) {
  return heading("Beside the published numbers") + to_html(published_table(result)) +
         bullets(published_notes());
}

string findings(const Findings& found) {
  string text = heading("Key observations");
  if (found.observations.empty()) text += paragraph("", "No row was completed.");
  for (const Topic& topic : found.observations)
    text += "<h3>" + escape_html(topic.title) + "</h3>\n" + bullets(topic.sentences);
  return text + heading("Conclusions") + bullets(found.conclusions);
}

string configuration(const Result& result, const Findings& found) {
  string text = heading("Test configuration") + "<dl>\n";
  for (const auto& [key, value] : result.machine)
    text += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(key), escape_html(value));
  text += fmt::format("<dt>wall time</dt><dd>{} s</dd>\n</dl>\n", significant(result.seconds, 3));
  if (!result.roofs.empty())
    text += "<h3>Roofs, measured in this run</h3>\n" + to_html(roofs_table(result));
  return text + "<h3>Method</h3>\n" + bullets(found.method);
}

}  // namespace

string to_html(const Result& result, const ReportOptions& options) {
  const Findings found = find(result);
  const std::vector<Group> groups = groups_of(result);
  const std::vector<string> devices = devices_of(result);
  string body = head(result, found);
  for (const string& device : devices)
    body += Charts(result, groups, device, devices.size() > 1).all();
  body += results(result) + findings(found) + heading("Next steps") + bullets(found.next_steps);
  if (options.with_published && has_published(result)) body += published(result);
  body += configuration(result, found);
  if (!result.command.empty())
    body += heading("Reproduce") + "<pre>" + escape_html(result.command) + "</pre>\n";
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{}"
      "<footer>Made by metalconv. A speed-up is time(vendor) / time(row). No row without a check "
      "has a time.</footer>\n</main>\n<script>{}</script>\n</body>\n</html>\n",
      escape_html("metalconv: " + found.title), style(), body, kScript);
}

}  // namespace metalconv::bench
