// SPDX-License-Identifier: Apache-2.0
// Charts as SVG text. Colours and fonts come from the style sheet of the page (chart_style), so
// that a chart follows light and dark; every mark has a tooltip without a script.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/result.h"

namespace metalconv::bench {

/// A value with its interval on one line of a chart.
struct Mark {
  bool present = false;
  double value = 0, low = 0, high = 0;
  std::string text;  ///< printed beside the mark where there is room
  std::string tooltip;
  bool alarming = false;  ///< absent for a reason that must catch the eye
};

struct ChartLine {
  std::string label;
  Implementation role = Implementation::basic;
  int variant = 0;          ///< tells lines of one role apart by colour and marker
  std::vector<Mark> marks;  ///< one a category or position
};

struct Scale {
  bool logarithmic = false;
  double reference = 0;  ///< a value to draw a line at, such as 1x; 0: none
  std::function<std::string(double)> format;
  std::string title;
};

/// Categories below each other, each line in a row of its own: bars from 0, or dots on a
/// logarithmic scale. With many categories the dots of a category share one row.
struct CategoryChart {
  std::string title;
  std::vector<std::string> categories;
  std::vector<ChartLine> lines;
  Scale scale;
};
/// Drawings narrower than 600 pixels are for phones, where nothing hovers: they have no tooltips.
std::string draw(const CategoryChart&, int width);

/// Lines over a quantity.
struct CurveChart {
  std::string title;
  std::vector<double> x;
  std::vector<std::string> x_labels;
  std::string x_title;
  std::vector<ChartLine> lines;
  Scale y;
};
std::string draw(const CurveChart&, int width);

/// Operations per byte against operations per second, both logarithmic, under measured roofs.
struct RooflineChart {
  struct Roof {
    std::string label;
    double rate = 0;
    bool bytes = false;  ///< a slope, else a ceiling
    bool minor = false;  ///< of a cache: thin, without a label
  };
  struct Point {
    std::string label, tooltip;
    Implementation role = Implementation::basic;
    int variant = 0;
    double intensity = 0, rate = 0;
    double roof = 0;  ///< the rate that this point's own roofline allows
  };
  std::string title;
  std::vector<Roof> roofs;
  std::vector<Point> points;
};
std::string draw(const RooflineChart&, int width);

/// The marker of a line as a small picture for legends.
std::string legend_marker(Implementation role, int variant);

/// CSS that charts need: colour-blind safe colours, readable on the page's light and dark ground.
std::string chart_style();

}  // namespace metalconv::bench
