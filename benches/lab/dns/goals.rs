//! What the DNS64 wants to reach, and whether it did.

/// The goals of a run, in the order in which they were looked at.
#[derive(Default)]
pub(super) struct Goals(Vec<String>);

impl Goals {
    /// `what` was `reached`; it is to be `bound` at most. Nothing reached is nothing measured.
    pub(super) fn at_most(&mut self, what: &str, reached: Option<f64>, bound: f64) {
        self.note(what, reached, "<=", bound, reached.is_some_and(|reached| reached <= bound));
    }

    /// `what` was `reached`; it is to be `bound` at least.
    pub(super) fn at_least(&mut self, what: &str, reached: Option<f64>, bound: f64) {
        self.note(what, reached, ">=", bound, reached.is_some_and(|reached| reached >= bound));
    }

    fn note(&mut self, what: &str, reached: Option<f64>, sign: &str, bound: f64, met: bool) {
        let (word, reached) = match reached.filter(|reached| !reached.is_nan()) {
            Some(reached) => (if met { "met    " } else { "NOT MET" }, format!("{reached:.3}")),
            None => ("?      ", "not measured".to_owned()),
        };
        self.0.push(format!("  {word} {what}: {reached}, wanted {sign} {bound:.3}"));
    }

    pub(super) fn show(&self) {
        println!("\ntargets:");
        self.0.iter().for_each(|line| println!("{line}"));
    }
}
