/// Rows under a header, with nothing but spaces between the columns, so that it can be cut and grepped. Written by
/// hand because a table library took as long for 1,000 apps as all the rest of `apps:list`.
pub(super) fn table<const N: usize>(header: &[&str; N], rows: &[[String; N]]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths = header.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let begin = text.len();
        for (cell, widest) in cells.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', widest - width(cell) + 2));
        }
        text.truncate(begin + text[begin..].trim_end().len());
        text.push('\n');
    };
    line(*header);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

/// Names and values, a pair a line.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len() + 2).max().unwrap_or(0);
    facts
        .iter()
        .map(|(name, value)| {
            let label = format!("{name}:");
            let value = value.replace('\n', &format!("\n{:width$}", ""));
            format!("{label:width$}{value}").trim_end().to_owned()
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["blog".to_owned(), "running".to_owned()], ["a".to_owned(), "new".to_owned()]];
        assert_eq!(table(&["NAME", "STATE"], &rows), "NAME  STATE\nblog  running\na     new\n");
        assert_eq!(
            facts(&[("app", "blog".to_owned()), ("release", "v1\nv2".to_owned())]),
            "app:     blog\nrelease: v1\n         v2"
        );
    }
}
