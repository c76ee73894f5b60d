// SPDX-License-Identifier: Apache-2.0
#include "bench/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "bench/text.h"

namespace metalconv::bench {
namespace {

using std::size_t;
using std::string;

// Of a wide font at 12 pixels, for placing; labels are cut, never measured by a browser.
constexpr double kCharWidth = 7.4;
/// More categories than this share a row among their lines.
constexpr size_t kRowsForEach = 8;

double text_width(std::string_view text) { return double(columns(text)) * kCharWidth; }

string fit_text(std::string_view text, double pixels) {
  return shorten(text, size_t(std::max(3.0, pixels / kCharWidth)));
}

// ---- elements

string text_at(double x, double y, std::string_view anchor, std::string_view css,
               std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n",
                     x, y, anchor, css, escape_html(text));
}

string line_at(double x1, double y1, double x2, double y2, std::string_view css) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2,
      y2, css);
}

string line_class(Implementation role, int variant) {
  return fmt::format("l-{}{}", to_string(role), variant % 3);
}

/// Shape says the role too: squares are basic, circles optimized, diamonds and triangles vendors.
string marker(double x, double y, Implementation role, int variant) {
  if (role == Implementation::optimized)
    return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"/>", x, y);
  if (role == Implementation::basic)
    return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"8\" height=\"8\"/>", x - 4, y - 4);
  if (variant % 2 == 0)
    return fmt::format("<path d=\"M{:.1f} {:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z\"/>", x, y - 5.5);
  return fmt::format("<path d=\"M{:.1f} {:.1f}l5.5 9.5h-11z\"/>", x, y - 5.5);
}

bool is_narrow(int width) { return width < 600; }

string group(Implementation role, int variant, const string& tooltip, int width,
             const string& drawn) {
  const string title = is_narrow(width) ? "" : "<title>" + escape_html(tooltip) + "</title>";
  return fmt::format("<g class=\"{}\">{}{}</g>\n", line_class(role, variant), title, drawn);
}

string group(const ChartLine& line, const Mark& mark, int width, const string& drawn) {
  return group(line.role, line.variant, mark.tooltip, width, drawn);
}

string svg(int width, double height, const string& title, std::string_view css,
           const string& body) {
  return fmt::format(
      "<svg viewBox=\"0 0 {0} {1:.0f}\" width=\"{0}\" height=\"{1:.0f}\" class=\"{2}\" "
      "role=\"img\" "
      "aria-label=\"{3}\">\n{4}</svg>\n",
      width, height, css, escape_html(title), body);
}

string size_class(int width) { return is_narrow(width) ? "narrow" : "broad"; }

// ---- axes

/// Maps values to pixels.
class Axis {
 public:
  Axis(double low, double high, double from, double to, bool logarithmic)
      : low_(logarithmic ? std::log(low) : low),
        high_(logarithmic ? std::log(high) : high),
        from_(from),
        to_(to),
        logarithmic_(logarithmic) {
    if (!(high_ > low_)) high_ = low_ + 1;
  }
  double at(double value) const {
    const double v = logarithmic_ ? std::log(value) : value;
    return from_ + (v - low_) / (high_ - low_) * (to_ - from_);
  }
  /// Round values in range, at most about `count`.
  std::vector<double> ticks(int count) const {
    return logarithmic_ ? log_ticks(count) : linear_ticks(low_, high_, count);
  }

 private:
  static std::vector<double> linear_ticks(double low, double high, int count) {
    const double rough = (high - low) / count;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    double step = 10 * power;
    for (double factor : {1., 2., 5.})
      if (factor * power >= rough) {
        step = factor * power;
        break;
      }
    std::vector<double> values;
    for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i)
      values.push_back(i * step);
    return values;
  }
  /// The densest of three patterns that is not too dense; linear steps for less than an octave.
  std::vector<double> log_ticks(int count) const {
    const double low = std::exp(low_), high = std::exp(high_);
    const std::vector<double> patterns[] = {{1, 1.5, 2, 3, 4, 5, 7}, {1, 2, 5}, {1}};
    for (const auto& pattern : patterns) {
      std::vector<double> values;
      for (int e = int(std::floor(std::log10(low))); std::pow(10, e) <= high; ++e)
        for (double factor : pattern)
          if (const double v = factor * std::pow(10, e); v >= low * 0.999 && v <= high * 1.001)
            values.push_back(v);
      if (values.size() < 2) return linear_ticks(low, high, count);
      if (int(values.size()) <= count) return values;
    }
    std::vector<double> decades;
    const int step = int(std::ceil((high_ - low_) / std::log(10) / count));
    for (int e = int(std::ceil(low_ / std::log(10))); e <= high_ / std::log(10); e += step)
      decades.push_back(std::pow(10, e));
    return decades;
  }

  double low_, high_, from_, to_;
  bool logarithmic_;
};

/// The range that all marks and the reference need, with some air on a logarithmic scale.
std::pair<double, double> range_of(const std::vector<ChartLine>& lines, const Scale& scale) {
  double low = HUGE_VAL, high = 0;
  for (const ChartLine& line : lines)
    for (const Mark& mark : line.marks)
      if (mark.present) {
        low = std::min({low, mark.low, mark.value});
        high = std::max({high, mark.high, mark.value});
      }
  if (scale.reference > 0) {
    low = std::min(low, scale.reference);
    high = std::max(high, scale.reference);
  }
  if (high == 0) return {scale.logarithmic ? 1 : 0, 10};
  if (!scale.logarithmic) return {0, high};
  return {low / 1.15, high * 1.15};
}

/// Our optimized kernels last, so that nothing covers them.
std::vector<const ChartLine*> drawing_order(const std::vector<ChartLine>& lines) {
  std::vector<const ChartLine*> order;
  for (const ChartLine& line : lines) order.push_back(&line);
  std::stable_partition(order.begin(), order.end(), [](const ChartLine* line) {
    return line->role != Implementation::optimized;
  });
  return order;
}

// ---- categories

class CategoryDrawing {
 public:
  CategoryDrawing(const CategoryChart& chart, int width)
      : chart_(chart),
        width_(width),
        share_rows_(chart.categories.size() > kRowsForEach),
        gutter_(gutter()),
        value_width_(share_rows_ ? 14 : values()),
        axis_(make_axis()) {}

  string draw() {
    double y = kTop;
    for (size_t c = 0; c < chart_.categories.size(); ++c) y = share_rows_ ? dots(c, y) : rows(c, y);
    return svg(width_, y + 44, chart_.title, size_class(width_), grid(y) + body_);
  }

 private:
  static constexpr double kTop = 8, kRow = 21, kShared = 24;

  Axis make_axis() const {
    const auto [low, high] = range_of(chart_.lines, chart_.scale);
    return {low, high, gutter_, width_ - value_width_, chart_.scale.logarithmic};
  }
  /// Room at the left for labels of lines, or of categories when rows are shared.
  double gutter() const {
    double longest = 0;
    if (share_rows_)
      for (const string& c : chart_.categories) longest = std::max(longest, text_width(c));
    else
      for (const ChartLine& line : chart_.lines)
        longest = std::max(longest, text_width(line.label));
    return std::min(longest + 14, 0.36 * width_);
  }
  double values() const {
    double longest = 0;
    for (const ChartLine& line : chart_.lines)
      for (const Mark& mark : line.marks) longest = std::max(longest, text_width(mark.text));
    return longest + 16;
  }

  string grid(double bottom) const {
    string text;
    for (double tick : axis_.ticks(is_narrow(width_) ? 4 : 8)) {
      text += line_at(axis_.at(tick), kTop, axis_.at(tick), bottom, "grid");
      text += text_at(axis_.at(tick), bottom + 16, "middle", "tick", chart_.scale.format(tick));
    }
    if (chart_.scale.reference > 0) {
      const double x = axis_.at(chart_.scale.reference);
      text += line_at(x, kTop, x, bottom, "reference");
    }
    return text + text_at((gutter_ + width_ - value_width_) / 2, bottom + 34, "middle", "axis",
                          chart_.scale.title);
  }

  string whisker(const Mark& mark, double y) const {
    const double low = axis_.at(mark.low), high = axis_.at(mark.high);
    if (high - low < 1) return {};
    return line_at(low, y, high, y, "whisker") + line_at(low, y - 3, low, y + 3, "whisker") +
           line_at(high, y - 3, high, y + 3, "whisker");
  }

  double rows(size_t category, double y) {
    body_ += text_at(0, y + 15, "start", "category",
                     fit_text(chart_.categories[category], width_ * 0.95));
    y += 22;
    for (const ChartLine& line : chart_.lines) {
      const Mark& mark = line.marks[category];
      if (!mark.present && mark.text.empty()) continue;
      row(line, mark, y + kRow / 2);
      y += kRow;
    }
    return y + 12;
  }

  void row(const ChartLine& line, const Mark& mark, double y) {
    body_ += text_at(gutter_ - 8, y + 4, "end", "label", fit_text(line.label, gutter_ - 8));
    if (!mark.present) {
      body_ += text_at(gutter_ + 6, y + 4, "start", mark.alarming ? "alarm" : "tick", mark.text);
      return;
    }
    const double x = axis_.at(mark.value);
    string drawn = chart_.scale.logarithmic
                       ? whisker(mark, y) + marker(x, y, line.role, line.variant)
                       : fmt::format(
                             "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
                             "height=\"14\" rx=\"2\"/>",
                             gutter_, y - 7, std::max(x - gutter_, 1.5)) +
                             whisker(mark, y);
    body_ += group(line, mark, width_, drawn);
    body_ += text_at(std::max(x, axis_.at(mark.high)) + 8, y + 4, "start", "value", mark.text);
  }

  double dots(size_t category, double y) {
    const double middle = y + kShared / 2;
    body_ += text_at(gutter_ - 10, middle + 4, "end", "label",
                     fit_text(chart_.categories[category], gutter_ - 10));
    body_ += line_at(gutter_, middle, width_ - value_width_, middle, "grid");
    for (const ChartLine* drawn : drawing_order(chart_.lines)) {
      const ChartLine& line = *drawn;
      const Mark& mark = line.marks[category];
      if (!mark.present) continue;
      body_ += group(
          line, mark, width_,
          whisker(mark, middle) + marker(axis_.at(mark.value), middle, line.role, line.variant));
    }
    return y + kShared;
  }

  const CategoryChart& chart_;
  int width_;
  bool share_rows_;
  double gutter_, value_width_;
  Axis axis_;
  string body_;
};

}  // namespace

string draw(const CategoryChart& chart, int width) { return CategoryDrawing(chart, width).draw(); }

string draw(const CurveChart& chart, int width) {
  const double left = 62, right = width - 16.0, top = 12, bottom = is_narrow(width) ? 230 : 330;
  const auto [low, high] = range_of(chart.lines, chart.y);
  const auto [first, last] = std::minmax_element(chart.x.begin(), chart.x.end());
  const Axis x(*first, *last, left + 16, right - 16, *last >= 8 * *first);
  const Axis y(low, high, bottom, top, chart.y.logarithmic);
  string body;
  for (double tick : y.ticks(9)) {
    body += line_at(left, y.at(tick), right, y.at(tick), "grid");
    body += text_at(left - 8, y.at(tick) + 4, "end", "tick", chart.y.format(tick));
  }
  if (chart.y.reference > 0)
    body += line_at(left, y.at(chart.y.reference), right, y.at(chart.y.reference), "reference");
  double free_from = 0;  // a label that would touch its neighbour is left out
  for (size_t i = 0; i < chart.x.size(); ++i) {
    const double at = x.at(chart.x[i]), half = text_width(chart.x_labels[i]) / 2;
    body += line_at(at, bottom, at, bottom + 5, "grid");
    if (at - half < free_from) continue;
    body += text_at(at, bottom + 19, "middle", "tick", chart.x_labels[i]);
    free_from = at + half + 6;
  }
  body += text_at((left + right) / 2, bottom + 38, "middle", "axis", chart.x_title);
  for (const ChartLine* drawn : drawing_order(chart.lines)) {
    const ChartLine& line = *drawn;
    string path, marks;
    bool connected = false;
    for (size_t i = 0; i < chart.x.size(); ++i) {
      const Mark& mark = line.marks[i];
      if (!mark.present) {
        connected = false;
        continue;
      }
      const double px = x.at(chart.x[i]), py = y.at(mark.value);
      path += fmt::format("{}{:.1f} {:.1f}", connected ? "L" : "M", px, py);
      connected = true;
      const string whisker = y.at(mark.low) - y.at(mark.high) < 1
                                 ? ""
                                 : line_at(px, y.at(mark.low), px, y.at(mark.high), "whisker");
      marks += group(line, mark, width, whisker + marker(px, py, line.role, line.variant));
    }
    body += fmt::format("<path d=\"{}\" class=\"curve {}\"/>\n", path,
                        line_class(line.role, line.variant)) +
            marks;
  }
  return svg(width, bottom + 48, chart.title, size_class(width), body);
}

namespace {

class RooflineDrawing {
 public:
  RooflineDrawing(const RooflineChart& chart, int width)
      : chart_(chart),
        width_(width),
        right_(width - 16.0),
        bottom_(is_narrow(width) ? 260 : 380),
        x_(x_axis()),
        y_(y_axis()) {}

  string draw() {
    grid();
    for (const auto& roof : chart_.roofs) roof.bytes ? slope(roof) : ceiling(roof);
    body_ += slope_names_;  // above all lines
    for (const auto& point : chart_.points) own_roof(point);
    for (const auto& point : chart_.points) dot(point);
    label_points();
    return svg(width_, bottom_ + 48, chart_.title, size_class(width_), body_);
  }

 private:
  static constexpr double kLeft = 62, kTop = 14;
  struct Box {
    double left, top, right, bottom;
  };

  Axis x_axis() {
    double low = HUGE_VAL, high = 0, flops = 0, bytes = HUGE_VAL;
    for (const auto& p : chart_.points)
      low = std::min(low, p.intensity), high = std::max(high, p.intensity);
    for (const auto& r : chart_.roofs)
      r.bytes ? void(bytes = std::min(bytes, r.rate)) : void(flops = std::max(flops, r.rate));
    if (flops > 0 && std::isfinite(bytes)) {
      // The ridge, where memory and arithmetic meet, belongs into the picture.
      low = std::min(low, flops / bytes);
      high = std::max(high, flops / bytes);
    }
    low_x_ = low / 6, high_x_ = high * 3;
    return {low_x_, high_x_, kLeft, right_, true};
  }
  Axis y_axis() {
    double low = HUGE_VAL, high = 0;
    for (const auto& p : chart_.points)
      low = std::min(low, p.rate), high = std::max({high, p.rate, p.roof});
    for (const auto& r : chart_.roofs)
      if (!r.bytes) high = std::max(high, r.rate);
    low_y_ = low / 2, high_y_ = high * 1.7;
    return {low_y_, high_y_, bottom_, kTop, true};
  }

  void grid() {
    const int count = is_narrow(width_) ? 4 : 10;
    for (double tick : x_.ticks(count)) {
      body_ += line_at(x_.at(tick), kTop, x_.at(tick), bottom_, "grid");
      body_ += text_at(x_.at(tick), bottom_ + 19, "middle", "tick", short_number(tick, 2));
    }
    for (double tick : y_.ticks(9)) {
      body_ += line_at(kLeft, y_.at(tick), right_, y_.at(tick), "grid");
      body_ += text_at(kLeft - 8, y_.at(tick) + 4, "end", "tick", short_number(tick / 1e9, 2));
    }
    body_ += text_at((kLeft + right_) / 2, bottom_ + 38, "middle", "axis",
                     "operations per byte (GFLOP/s upwards)");
  }

  double ceiling_rate() const {
    double rate = 0;
    for (const auto& r : chart_.roofs)
      if (!r.bytes) rate = std::max(rate, r.rate);
    return rate > 0 ? rate : high_y_;
  }

  void ceiling(const RooflineChart::Roof& roof) {
    const double y = y_.at(roof.rate);
    body_ += line_at(kLeft, y, right_, y, "roof");
    place(right_ - 4, y - 6, "end", roof.label, "roofname");
  }

  /// From the plot's edge up to the ceiling.
  void slope(const RooflineChart::Roof& roof) {
    const double top = std::min(ceiling_rate(), high_y_);
    const double x1 = std::max(low_x_, low_y_ / roof.rate), x2 = std::min(high_x_, top / roof.rate);
    if (x1 >= x2) return;
    const double px1 = x_.at(x1), py1 = y_.at(x1 * roof.rate);
    const double px2 = x_.at(x2), py2 = y_.at(x2 * roof.rate);
    body_ += fmt::format("<g><title>{}</title>{}</g>\n", escape_html(roof.label),
                         line_at(px1, py1, px2, py2, roof.minor ? "roof minor" : "roof"));
    if (roof.minor) return;
    const double length = std::hypot(px2 - px1, py2 - py1);
    const double start = 12 + slopes_named_;
    if (start + text_width(roof.label) > length) return;
    // Slopes of like rates lie close: each name begins where the one before ended.
    slopes_named_ += text_width(roof.label) + 26;
    const double cosine = (px2 - px1) / length, sine = (py2 - py1) / length;
    slope_names_ += fmt::format(
        "<text transform=\"translate({:.1f} {:.1f}) rotate({:.1f})\" "
        "class=\"roofname\">{}</text>\n",
        px1 + start * cosine + 6 * sine, py1 + start * sine - 6 * cosine,
        std::atan2(sine, cosine) * 180 / std::numbers::pi, escape_html(roof.label));
  }

  /// What this point's own roofline allows: a short bar above it, joined by a thin line.
  void own_roof(const RooflineChart::Point& p) {
    if (!(p.roof > p.rate) || p.role != Implementation::optimized) return;
    const double x = x_.at(p.intensity);
    body_ += line_at(x, y_.at(p.rate), x, y_.at(p.roof), "room");
    body_ += line_at(x - 6, y_.at(p.roof), x + 6, y_.at(p.roof), "cap");
  }

  void dot(const RooflineChart::Point& p) {
    const double x = x_.at(p.intensity), y = y_.at(p.rate);
    body_ += group(p.role, p.variant, p.tooltip, width_, marker(x, y, p.role, p.variant));
    taken_.push_back({x - 6, y - 6, x + 6, y + 6});
  }

  /// Our optimized points are named; those that lie on each other share a label.
  void label_points() {
    struct Cluster {
      double x, y;
      std::vector<string> names;
    };
    std::vector<Cluster> clusters;
    for (const auto& p : chart_.points) {
      if (p.role != Implementation::optimized) continue;
      const double x = x_.at(p.intensity), y = y_.at(p.rate);
      const auto near = std::find_if(clusters.begin(), clusters.end(), [&](const Cluster& c) {
        return std::hypot(c.x - x, c.y - y) < 12;
      });
      if (near == clusters.end())
        clusters.push_back({x, y, {p.label}});
      else
        near->names.push_back(p.label);
    }
    for (const Cluster& c : clusters)
      label(c.x, c.y,
            c.names.size() <= 3 ? list_text(c.names) : count_text(c.names.size(), "problem"));
  }

  void label(double x, double y, const string& text) {
    if (x + 10 + text_width(text) < right_ && place(x + 10, y + 4, "start", text, "value")) return;
    if (x - 10 - text_width(text) > kLeft) place(x - 10, y + 4, "end", text, "value");
  }

  /// Draws the text unless it would cover something.
  bool place(double x, double y, std::string_view anchor, const string& text,
             std::string_view css) {
    const double width = text_width(text), left = anchor == "end" ? x - width : x;
    const Box box{left, y - 11, left + width, y + 3};
    for (const Box& other : taken_)
      if (box.left < other.right && other.left < box.right && box.top < other.bottom &&
          other.top < box.bottom)
        return false;
    taken_.push_back(box);
    body_ += text_at(x, y, anchor, css, text);
    return true;
  }

  const RooflineChart& chart_;
  int width_;
  double right_, bottom_;
  double low_x_ = 0, high_x_ = 0, low_y_ = 0, high_y_ = 0;
  Axis x_, y_;
  double slopes_named_ = 0;  // pixels that names of slopes take so far
  string slope_names_;
  std::vector<Box> taken_;
  string body_;
};

}  // namespace

string draw(const RooflineChart& chart, int width) { return RooflineDrawing(chart, width).draw(); }

string legend_marker(Implementation role, int variant) {
  return fmt::format(
      "<svg viewBox=\"0 0 14 14\" width=\"14\" height=\"14\" aria-hidden=\"true\"><g "
      "class=\"{}\">{}"
      "</g></svg>",
      line_class(role, variant), marker(7, 7, role, variant));
}

string chart_style() {
  // Blues against oranges and purples, told apart in all common colour blindnesses, lightness
  // differing too; dark mode takes lighter tones of the same hues.
  return R"(
.l-basic0{--l:var(--basic0)}.l-basic1{--l:var(--basic1)}.l-basic2{--l:var(--basic2)}
.l-optimized0{--l:var(--optimized0)}.l-optimized1{--l:var(--optimized1)}.l-optimized2{--l:var(--optimized2)}
.l-vendor0{--l:var(--vendor0)}.l-vendor1{--l:var(--vendor1)}.l-vendor2{--l:var(--vendor2)}
svg g[class^=l-]>rect,svg g[class^=l-]>circle,svg g[class^=l-]>path{fill:var(--l)}
svg .curve{fill:none;stroke:var(--l);stroke-width:2}
svg text{font:12px var(--sans);fill:var(--ink)}
svg .tick,svg .axis{fill:var(--soft);font-variant-numeric:tabular-nums}
svg .category{font-weight:600;font-size:13px}
svg .value,svg .roofname{font-variant-numeric:tabular-nums;stroke:var(--ground);stroke-width:3px;paint-order:stroke;stroke-linejoin:round}
svg .alarm{fill:var(--bad);font-weight:600}
svg .grid{stroke:var(--line)}
svg .reference{stroke:var(--ink);stroke-dasharray:4 3}
svg .whisker{stroke:var(--ink);stroke-opacity:.75}
svg .roof{stroke:var(--soft);stroke-width:1.5}
svg .minor{stroke-width:1;stroke-dasharray:2 4}
svg .roofname{fill:var(--soft)}
svg .room{stroke:var(--optimized0);stroke-opacity:.45}
svg .cap{stroke:var(--optimized0);stroke-width:2}
)";
}

}  // namespace metalconv::bench
