//! Whether what was measured is as it is wanted.

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// No more than this.
    Most(f64),
    /// No less than this.
    Least(f64),
}

/// Says in a line whether a figure is as wanted; `None` was not measured.
pub(crate) fn say(what: &str, reached: Option<f64>, unit: &str, bound: Bound) {
    let (sign, wanted) = match bound {
        Bound::Most(most) => ("<=", most),
        Bound::Least(least) => (">=", least),
    };
    let verdict = match (reached, bound) {
        (None, _) => "not measured",
        (Some(reached), Bound::Most(most)) if reached <= most => "met",
        (Some(reached), Bound::Least(least)) if reached >= least => "met",
        (Some(_), Bound::Most(_) | Bound::Least(_)) => "NOT MET",
    };
    let reached = reached.map_or_else(|| "-".to_owned(), |reached| format!("{reached:.*}", digits(wanted)));
    println!("{verdict:<13}{what:<58} {reached:>7} {sign} {wanted}{unit}");
}

const fn digits(wanted: f64) -> usize {
    if wanted < 10.0 { 2 } else { 1 }
}
