//! One part of what is signed, in all the forms in which it is tried.

/// One deviation: its name for machines, and what would have to be so, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Such as `query=unsorted`.
    pub name: String,
    /// Follows "matches if ".
    pub condition: String,
}

impl Step {
    pub fn new(name: impl Into<String>, condition: impl Into<String>) -> Self {
        Self { name: name.into(), condition: condition.into() }
    }
}

/// One form of a part, and what it takes to be right.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub text: Vec<u8>,
    /// None for what arrived, in the form that AWS documents.
    pub steps: Vec<Step>,
    /// Names of deviations that give the same text in this request.
    pub same_as: Vec<String>,
}

/// The forms of one part, none twice; those that take less come first.
#[derive(Clone, Debug, Default)]
pub(super) struct Part(Vec<Variant>);

impl Part {
    /// A part in its documented form.
    pub fn with_base(text: impl Into<Vec<u8>>) -> Self {
        let mut part = Self::default();
        part.add(text, vec![]);
        part
    }

    /// One more form. The first of several with the same text stands for all of them.
    pub fn add(&mut self, text: impl Into<Vec<u8>>, steps: Vec<Step>) {
        let text = text.into();
        match self.0.iter_mut().find(|known| known.text == text) {
            None => self.0.push(Variant { text, steps, same_as: Vec::new() }),
            Some(known) => known.also(steps),
        }
    }

    /// The forms, by the number of their deviations.
    pub fn into_sorted(mut self) -> Vec<Variant> {
        self.0.sort_by_key(|variant| variant.steps.len());
        self.0
    }
}

impl Variant {
    /// Nothing is to be said of a deviation that makes no difference, nor of several in place of one.
    fn also(&mut self, steps: Vec<Step>) {
        if let ([_], Ok([step])) = (&self.steps[..], <[Step; 1]>::try_from(steps))
            && self.steps[0].name != step.name
            && !self.same_as.contains(&step.name)
        {
            self.same_as.push(step.name);
        }
    }
}
