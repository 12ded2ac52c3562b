//! Shortens a failing run by leaving out lines and steps.

use super::play::Case;

/// The shortest failing run that leaving out finds.
pub(super) fn shrink(mut run: Case, fails: &dyn Fn(&Case) -> bool) -> Case {
    loop {
        let before = (run.settings.len(), run.steps.len());
        run = shorter(run, |run| &mut run.steps, fails);
        run = shorter(run, |run| &mut run.settings, fails);
        if (run.settings.len(), run.steps.len()) == before {
            return run;
        }
    }
}

/// Leaves out sequences of items: half of them first, single ones last, the last ones first.
fn shorter<T: Clone>(
    mut run: Case,
    items: fn(&mut Case) -> &mut Vec<T>,
    fails: &dyn Fn(&Case) -> bool,
) -> Case {
    let mut size = items(&mut run).len().div_ceil(2);
    while size > 0 {
        let mut end = items(&mut run).len();
        while end > 0 {
            let from = end.saturating_sub(size);
            let mut less = run.clone();
            items(&mut less).drain(from..end);
            if fails(&less) {
                run = less;
            }
            end = from;
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    run
}
