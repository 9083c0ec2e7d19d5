use std::borrow::Cow;

/// Rows under a header, with nothing but spaces between the columns, so that it can be cut and grepped. Written by
/// hand because a table library took as long for 1,000 apps as all the rest of `apps:list`.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = header.iter().map(|cell| width(cell)).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let begin = text.len();
        for (cell, widest) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', widest - width(cell) + 2));
        }
        text.truncate(begin + text[begin..].trim_end().len());
        text.push('\n');
    };
    line(&mut header.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Names and values, a pair a line.
pub(super) fn facts(facts: &[(Cow<'static, str>, String)]) -> String {
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
        let rows = [["blog", "running"], ["a", "new"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&["NAME", "STATE"], &rows), "NAME  STATE\nblog  running\na     new\n");
        assert_eq!(
            facts(&[("app".into(), "blog".to_owned()), ("release".into(), "v1\nv2".to_owned())]),
            "app:     blog\nrelease: v1\n         v2"
        );
    }
}
