//! Compares measured figures with their targets.

/// The target of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// At most.
    Most(f64),
    /// At least.
    Least(f64),
}

/// Prints whether a figure meets its target; `None` was not measured.
pub(crate) fn report(what: &str, reached: Option<f64>, unit: &str, bound: Bound) {
    let (sign, target) = match bound {
        Bound::Most(most) => ("<=", most),
        Bound::Least(least) => (">=", least),
    };
    let verdict = match (reached, bound) {
        (None, _) => "not measured",
        (Some(reached), Bound::Most(most)) if reached <= most => "met",
        (Some(reached), Bound::Least(least)) if reached >= least => "met",
        (Some(_), Bound::Most(_) | Bound::Least(_)) => "NOT MET",
    };
    let reached = reached.map_or_else(|| "-".to_owned(), |reached| format!("{reached:.*}", digits(target)));
    println!("{verdict:<13}{what:<58} {reached:>7} {sign} {target}{unit}");
}

const fn digits(target: f64) -> usize {
    if target < 10.0 { 2 } else { 1 }
}
