/// What builds may take of a machine, all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BuildCaps {
    /// Bytes of memory; none: all there is.
    pub memory: Option<u64>,
    /// Processors, also parts of one; none: all there are.
    pub cpus: Option<f64>,
}

impl BuildCaps {
    /// Whether nothing is capped.
    pub fn is_empty(self) -> bool {
        self == BuildCaps::default()
    }

    /// The caps for people: `1.5 GB of memory, 1.5 processors`.
    pub fn describe(self) -> String {
        let memory = self.memory.map(|memory| format!("{} of memory", super::bytes(memory)));
        let cpus = self.cpus.map(|cpus| match cpus {
            1.0 => "1 processor".to_owned(),
            _ => format!("{cpus} processors"),
        });
        let words: Vec<String> = memory.into_iter().chain(cpus).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_read_well() {
        assert_eq!(BuildCaps::default().describe(), "none");
        assert_eq!(
            BuildCaps { memory: Some(1_500_000_000), cpus: Some(0.5) }.describe(),
            "1.5 GB of memory, 0.5 processors"
        );
        assert_eq!(BuildCaps { memory: None, cpus: Some(1.0) }.describe(), "1 processor");
    }
}
