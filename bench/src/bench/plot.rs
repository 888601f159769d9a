//! Lines over sizes, as SVG.

use std::path::Path;

use plotters::prelude::*;

pub struct Plot {
    pub file: String,
    pub title: String,
    pub x: String,
    pub y: String,
    pub sizes: Vec<u32>,
    /// A value for each size, where there is one.
    pub lines: Vec<(String, Vec<Option<f64>>)>,
}

const COLOURS: [RGBColor; 7] = [
    RGBColor(150, 150, 150),
    RGBColor(90, 90, 90),
    RGBColor(214, 120, 40),
    RGBColor(200, 170, 30),
    RGBColor(150, 100, 170),
    RGBColor(30, 100, 200),
    RGBColor(20, 150, 90),
];

pub fn draw(plot: &Plot, folder: &Path) -> Result<(), String> {
    let path = folder.join(&plot.file);
    lines(plot, &path).map_err(|error| format!("{}: {error}", path.display()))
}

fn lines(plot: &Plot, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (880, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let (graph, names) = root.split_horizontally(650);
    let values = plot
        .lines
        .iter()
        .flat_map(|(_, values)| values.iter().flatten());
    let top = 1.08 * values.copied().fold(0.0, f64::max);
    let last = plot.sizes.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(&graph)
        .caption(&plot.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.1..last + 0.1, 0.0..top)?;
    let size = |at: &f64| {
        let size = plot.sizes.get(at.round() as usize);
        let is_on_it = (at - at.round()).abs() < 0.01;
        size.filter(|_| is_on_it)
            .map(u32::to_string)
            .unwrap_or_default()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(2 * plot.sizes.len())
        .x_label_formatter(&size)
        .x_desc(&plot.x)
        .y_desc(&plot.y)
        .draw()?;
    for (at, (name, values)) in plot.lines.iter().enumerate() {
        let style = ShapeStyle {
            color: COLOURS[at % COLOURS.len()].to_rgba(),
            filled: true,
            stroke_width: if name.starts_with("ringway") { 3 } else { 2 },
        };
        let points = values.iter().enumerate();
        let points = points.filter_map(|(x, y)| Some((x as f64, (*y)?)));
        let points: Vec<(f64, f64)> = points.collect();
        chart.draw_series(LineSeries::new(points, style).point_size(3))?;
        let y = 60 + 24 * at as i32;
        names.draw(&PathElement::new([(0, y), (20, y)], style))?;
        names.draw(&Text::new(&name[..], (28, y - 6), ("sans-serif", 13)))?;
    }
    root.present()?;
    Ok(())
}
