//! Targets of DNS64, and whether they are met.

/// The checked targets of a run, in order.
#[derive(Default)]
pub(super) struct Goals(Vec<String>);

impl Goals {
    /// Checks that `reached` is at most `bound`. `None` was not measured.
    pub(super) fn at_most(&mut self, what: &str, reached: Option<f64>, bound: f64) {
        self.note(what, reached, "<=", bound, reached.is_some_and(|reached| reached <= bound));
    }

    /// Checks that `reached` is at least `bound`.
    pub(super) fn at_least(&mut self, what: &str, reached: Option<f64>, bound: f64) {
        self.note(what, reached, ">=", bound, reached.is_some_and(|reached| reached >= bound));
    }

    fn note(&mut self, what: &str, reached: Option<f64>, sign: &str, bound: f64, met: bool) {
        let (word, reached) = match reached.filter(|reached| !reached.is_nan()) {
            Some(reached) => (if met { "met    " } else { "NOT MET" }, format!("{reached:.3}")),
            None => ("?      ", "not measured".to_owned()),
        };
        self.0.push(format!("  {word} {what}: {reached}, target {sign} {bound:.3}"));
    }

    pub(super) fn show(&self) {
        println!("\ntargets:");
        self.0.iter().for_each(|line| println!("{line}"));
    }
}
