use comfy_table::{Cell, Table, presets};

/// Rows under a header, with nothing but spaces between the columns, so that it can be cut and grepped.
pub(super) fn table<const N: usize>(header: &[&str; N], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.map(Cell::new));
    for row in rows {
        table.add_row(row.iter().map(Cell::new));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    trim_lines(&table.to_string())
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

fn trim_lines(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["blog".to_owned(), "running".to_owned()], ["a".to_owned(), "new".to_owned()]];
        assert_eq!(table(&["NAME", "STATE"], &rows), "NAME  STATE\nblog  running\na     new");
        assert_eq!(
            facts(&[("app", "blog".to_owned()), ("release", "v1\nv2".to_owned())]),
            "app:     blog\nrelease: v1\n         v2"
        );
    }
}
