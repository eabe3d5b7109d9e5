//! Evaluates what was compiled: nodes in, nodes out, within a budget.

use std::cell::Cell;

use serde_json::Value as Json;

use super::compile::{Expression, Member, Step};
use super::parser::{Operator, Span};
use super::value::{Atom, Data, Item, Node, Nodes};
use super::{Fault, call, limits, operator};
use crate::fhir::dictionary::{Dictionary, Element, TypeId};
use crate::fhir::unit::{Resource, Unit, resource_type};

/// What a path is asked of: a node of a unit, and what encloses it.
///
/// A path that begins with the name of a resource type asks, in this order: the focus or the resource that it is in; those of the
/// enclosing scopes, the nearest first; the focal resource; for `Patient` the patient of the unit; else all of that type.
#[derive(Debug, Clone)]
pub struct Scope<'r> {
    unit: &'r Unit,
    focus: Node<'r>,
    /// What encloses the focus, the outermost first.
    outer: Vec<Node<'r>>,
}

impl<'r> Scope<'r> {
    /// A resource of a unit.
    pub fn resource(resource: Resource<'r>) -> Self {
        Self { unit: resource.unit(), focus: Node::resource(resource), outer: Vec::new() }
    }

    /// The focal resource of a unit.
    pub fn focal(unit: &'r Unit) -> Self {
        Self::resource(unit.focal())
    }

    /// A node that was found in this scope.
    pub fn inside(&self, node: Node<'r>) -> Self {
        let mut outer = self.outer.clone();
        outer.push(self.focus.clone());
        Self { unit: self.unit, focus: node, outer }
    }

    /// What paths are asked of.
    pub fn focus(&self) -> &Node<'r> {
        &self.focus
    }

    /// The unit.
    pub fn unit(&self) -> &'r Unit {
        self.unit
    }

    /// The resource that the focus is in.
    fn home(&self) -> Resource<'r> {
        let known = std::iter::once(&self.focus).chain(self.outer.iter().rev()).find_map(Node::home);
        known.unwrap_or_else(|| self.unit.focal())
    }

    fn root(&self, id: TypeId) -> Nodes<'r> {
        let dictionary = Dictionary::standard();
        let is_it = |kind: Option<TypeId>| kind.is_some_and(|kind| dictionary.is_a(kind, id));
        let enclosing = std::iter::once(&self.focus).chain(self.outer.iter().rev());
        for node in enclosing {
            if is_it(node.kind()) {
                return Nodes::One(node.clone());
            }
            if let Some(home) = node.home().filter(|home| is_it(home.kind())) {
                return Nodes::One(Node::resource(home));
            }
        }
        let focal = self.unit.focal();
        if is_it(focal.kind()) {
            return Nodes::One(Node::resource(focal));
        }
        if id.name() == "Patient" {
            return self.unit.patient().map_or(Nodes::None, |patient| Nodes::One(Node::resource(patient)));
        }
        let dictionary = Dictionary::standard();
        let all =
            self.unit.resources().filter(|resource| resource.kind().is_some_and(|kind| dictionary.is_a(kind, id)));
        all.map(Node::resource).collect()
    }
}

/// Where evaluation stands.
#[derive(Clone, Copy)]
pub(super) struct Env<'e, 'r> {
    pub(super) scope: &'e Scope<'r>,
    pub(super) this: &'e Node<'r>,
    pub(super) index: usize,
    pub(super) total: Option<&'e Nodes<'r>>,
    pub(super) spent: &'e Cell<u64>,
}

pub(super) fn evaluate<'r>(expression: &'r Expression, scope: &Scope<'r>) -> Result<Nodes<'r>, Fault> {
    let spent = Cell::new(0);
    expression.evaluate(Env { scope, this: &scope.focus, index: 0, total: None, spent: &spent })
}

pub(super) fn fault<T>(span: &Span, problem: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { offset: span.start, length: span.len(), problem: problem.into() })
}

impl<'e, 'r> Env<'e, 'r> {
    /// Takes `steps` from the budget.
    pub(super) fn spend(&self, steps: usize, span: &Span) -> Result<(), Fault> {
        let spent = self.spent.get().saturating_add(steps as u64);
        self.spent.set(spent);
        if spent > limits::STEPS {
            return fault(span, format!("the path took more than {} steps in this resource", limits::STEPS));
        }
        Ok(())
    }

    /// The same for each node of a list.
    pub(super) fn each(self, this: &'e Node<'r>, index: usize) -> Self {
        Self { this, index, ..self }
    }
}

impl Expression {
    pub(super) fn evaluate<'r>(&'r self, env: Env<'_, 'r>) -> Result<Nodes<'r>, Fault> {
        Ok(match self {
            Self::Literal(atom) => Nodes::atom(atom.borrowed()),
            Self::Empty => Nodes::None,
            Self::Context => Nodes::One(env.scope.focus.clone()),
            Self::Resource => Nodes::One(Node::resource(env.scope.home())),
            Self::This => {
                env.spend(env.this.weight(), &NOWHERE)?;
                Nodes::One(env.this.clone())
            }
            Self::Index => Nodes::atom(Atom::Integer(i64::try_from(env.index).unwrap_or(i64::MAX))),
            Self::Total => {
                let total = env.total.cloned().unwrap_or_default();
                env.spend(total.iter().map(Node::weight).sum(), &NOWHERE)?;
                total
            }
            Self::Root(id) => env.scope.root(*id),
            Self::Chain(first, steps) => {
                let mut nodes = first.evaluate(env)?;
                for step in steps {
                    nodes = step.apply(nodes, env)?;
                }
                nodes
            }
            Self::Sign(negative, operand, span) => operator::sign(*negative, operand.evaluate(env)?, span)?,
            Self::Type(is_test, operand, id, span) => {
                let nodes = operand.evaluate(env)?;
                let found = single(&nodes, span)?.map(|node| operator::is_of(node, *id, span)).transpose()?;
                match (*is_test, found) {
                    (_, None) => Nodes::None,
                    (true, found) => Nodes::boolean(found),
                    (false, Some(true)) => nodes,
                    (false, _) => Nodes::None,
                }
            }
            Self::Binary(operator, operands, span) => {
                let (left, right) = operands.as_ref();
                let left = left.evaluate(env)?;
                // What the left side decides alone is not asked of the right one.
                if let Some(decided) = decided(*operator, &left, span)? {
                    return Ok(Nodes::boolean(Some(decided)));
                }
                operator::binary(*operator, left, right.evaluate(env)?, span, &env)?
            }
        })
    }
}

fn decided(operator: Operator, left: &Nodes<'_>, span: &Span) -> Result<Option<bool>, Fault> {
    let (decides, result) = match operator {
        Operator::And => (false, false),
        Operator::Or => (true, true),
        Operator::Implies => (false, true),
        _ => return Ok(None),
    };
    Ok((truth(left, span)? == Some(decides)).then_some(result))
}

/// The only node. Several are a fault: FHIRPath 4.5, "Singleton Evaluation of Collections".
pub(super) fn single<'n, 'r>(nodes: &'n Nodes<'r>, span: &Span) -> Result<Option<&'n Node<'r>>, Fault> {
    match nodes.as_slice() {
        [] => Ok(None),
        [node] => Ok(Some(node)),
        _ => fault(span, "one value is expected here, and there are several; choose one, as with first()"),
    }
}

/// As a truth value: one node that is no boolean means that there is one.
pub(super) fn truth(nodes: &Nodes<'_>, span: &Span) -> Result<Option<bool>, Fault> {
    Ok(single(nodes, span)?.map(|node| match node.atom() {
        Some(Atom::Boolean(truth)) => truth,
        _ => true,
    }))
}

impl Step {
    fn apply<'r>(&'r self, nodes: Nodes<'r>, env: Env<'_, 'r>) -> Result<Nodes<'r>, Fault> {
        match self {
            Self::Member(member) => members(member, &nodes, &env),
            Self::Call(call) => call::call(call, nodes, env),
            Self::Index(index, span) => {
                let index = index.evaluate(env)?;
                let Some(index) = single(&index, span)? else { return Ok(Nodes::None) };
                let Some(Atom::Integer(index)) = index.atom() else {
                    return fault(span, "an index must be a whole number");
                };
                let found = usize::try_from(index).ok().and_then(|index| nodes.as_slice().get(index).cloned());
                Ok(found.map_or(Nodes::None, Nodes::One))
            }
        }
    }
}

/// The place of nothing in particular: a step that ran out of budget.
const NOWHERE: Span = 0..0;

fn members<'r>(member: &'r Member, nodes: &Nodes<'r>, env: &Env<'_, 'r>) -> Result<Nodes<'r>, Fault> {
    let mut found = Nodes::None;
    for node in nodes {
        if let Item::Data(data) = &node.0 {
            member_of(member, data, &mut found);
        }
        env.spend(1, &NOWHERE)?;
    }
    env.spend(found.len(), &NOWHERE)?;
    Ok(found)
}

pub(super) fn member_of<'r>(member: &Member, data: &Data<'r>, found: &mut Nodes<'r>) {
    let dictionary = Dictionary::standard();
    let Some(object) = data.value.and_then(Json::as_object) else {
        // The id and extensions of a primitive.
        if let Some(value) = data.sibling.and_then(|sibling| sibling.get(&*member.name)) {
            let kind = if &*member.name == "extension" { dictionary.named("Extension") } else { None };
            add(value, None, kind, data.home, found);
        }
        return;
    };
    let element = data.kind.and_then(|kind| dictionary.element_of(member.elements, kind));
    let is_choice = element.is_some_and(|element| element.is_choice);
    // What is a choice in one version only is written without its type in others.
    if !is_choice || element.is_some_and(|element| element.types.len() == 1) {
        let (value, sibling) = (object.get(&*member.name), object.get(&*member.sibling));
        match (value, sibling) {
            (Some(value), sibling) => return add(value, sibling, kind(element, value), data.home, found),
            (None, Some(sibling)) => {
                return add(&Json::Null, Some(sibling), kind(element, &Json::Null), data.home, found);
            }
            (None, None) => {}
        }
    }
    // The name of a choice in JSON is that of the element and of its type. What is not known may be a choice.
    if !is_choice && (element.is_some() || data.kind.is_some_and(|kind| dictionary.is_checked(kind))) {
        return;
    }
    let mut siblings = None;
    for (key, value) in object {
        if let Some(suffix) = key.strip_prefix(&*member.name)
            && let Some(kind) = dictionary.choice_suffix(suffix)
        {
            let sibling = object.get(&format!("_{key}"));
            return add(value, sibling, Some(kind), data.home, found);
        }
        if let Some(suffix) = key.strip_prefix(&*member.sibling)
            && let Some(kind) = dictionary.choice_suffix(suffix)
        {
            siblings = Some((value, kind));
        }
    }
    if let Some((sibling, kind)) = siblings {
        add(&Json::Null, Some(sibling), Some(kind), data.home, found);
    }
}

/// The type of an element's content. One that changed from version to version is told by what is there.
fn kind(element: Option<&Element>, value: &Json) -> Option<TypeId> {
    match element?.types.as_slice() {
        [only] => Some(*only),
        several => {
            let first = if let Json::Array(items) = value { items.first().unwrap_or(&Json::Null) } else { value };
            several.iter().copied().find(|kind| operator::looks_like(first, *kind))
        }
    }
}

/// Each node of a member: an array is many, `null` is nothing but the extensions beside it.
pub(super) fn add<'r>(
    value: &'r Json,
    sibling: Option<&'r Json>,
    kind: Option<TypeId>,
    home: Resource<'r>,
    found: &mut Nodes<'r>,
) {
    let siblings = sibling.and_then(Json::as_array);
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add_one(item, siblings.and_then(|siblings| siblings.get(index)), kind, home, found);
            }
            let more = siblings.map_or(&[][..], |siblings| siblings.get(items.len()..).unwrap_or(&[]));
            more.iter().for_each(|sibling| add_one(&Json::Null, Some(sibling), kind, home, found));
        }
        Json::Null if siblings.is_some() => {
            siblings.into_iter().flatten().for_each(|sibling| add_one(&Json::Null, Some(sibling), kind, home, found));
        }
        value => add_one(value, sibling, kind, home, found),
    }
}

fn add_one<'r>(
    value: &'r Json,
    sibling: Option<&'r Json>,
    kind: Option<TypeId>,
    home: Resource<'r>,
    found: &mut Nodes<'r>,
) {
    let dictionary = Dictionary::standard();
    let sibling = sibling.filter(|sibling| sibling.is_object());
    let value = match value {
        Json::Null => None,
        // FHIR has no lists of lists.
        Json::Array(_) => return,
        value => Some(value),
    };
    if value.is_none() && sibling.is_none() {
        return;
    }
    let kind = match value {
        // Only a resource can be of a type that FHIR does not say.
        Some(Json::Object(_)) if kind.is_none_or(|kind| dictionary.is_abstract(kind)) => {
            value.and_then(resource_type).map_or(kind, |name| dictionary.named(name))
        }
        _ => kind,
    };
    found.push(Node(Item::Data(Data { value, sibling, kind, home })));
}
