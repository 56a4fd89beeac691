//! How a decorated call becomes a key, is looked up, and is loaded by Python's `load` where it must be.
//!
//! The classes that Python sees, `Memo` and `MemoProperty`, are in `memo.rs`; what a key is, is in `memo_key.rs`.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::cache::PyTtlCache;
use super::clock as python_clock;
use super::keys;
use super::memo_key::{MemoKey, Owner, ROW_ARGS, Whose};
use super::outside;
use super::rows::{self, Row, RowTypes};
use super::shared::{Found, Shared};
use super::spelling::{Parameters, Spelling};
use super::typed;

/// Whose entries a decorated call's are.
pub(super) enum Identity {
    /// Nobody's: a function.
    None,
    /// One object's.
    Instance,
    /// One class's, shared by its instances.
    Class,
    /// One row's, for a saved instance of a model; else one object's.
    Auto,
    /// As `Auto`, of models only.
    Row,
    /// Whoever has the same `identity(self)`.
    By(Py<PyAny>),
}

/// What is called in Python beside the function and its load.
#[derive(Default)]
pub(super) struct Hooks {
    /// Gives more parts of the key, by the instance.
    pub(super) vary: Option<Py<PyAny>>,
    /// Told when a row, or everything, was invalidated by hand.
    pub(super) forgotten: Option<Py<PyAny>>,
}

/// A key, a value or MISSING, and whether the value may be used as it is. No key: leave the cache alone.
pub(super) type Looked<'py> = (Option<Bound<'py, MemoKey>>, Py<PyAny>, bool);

/// How a decorated callable is keyed, looked up and loaded.
pub(super) struct Plan {
    pub(super) func: Py<PyAny>,
    pub(super) cache: Py<PyTtlCache>,
    pub(super) shared: Arc<Shared>,
    load: Py<PyAny>,
    pub(super) identity: Identity,
    pub(super) spelling: Spelling,
    pub(super) copy: bool,
    pub(super) hooks: Hooks,
    /// The classes that were met, with identity "auto" and "row".
    pub(super) rows: RowTypes,
}

impl Plan {
    pub(super) fn new(
        func: Py<PyAny>,
        cache: &Bound<'_, PyTtlCache>,
        load: Py<PyAny>,
        identity: &Bound<'_, PyAny>,
        parameters: Parameters<'_>,
        copy: bool,
        hooks: Hooks,
    ) -> PyResult<Self> {
        let spelling = Spelling::new(cache.py(), parameters)?;
        let identity = identity_of(identity)?;
        if hooks.vary.is_some() && matches!(identity, Identity::None) {
            return Err(PyValueError::new_err(
                "vary is called with the instance, and with identity 'none' there is none",
            ));
        }
        if !cache.get().shared.take() {
            return Err(PyValueError::new_err(format!(
                "{} belongs to another decorated callable already; make a cache for each",
                outside::repr(cache)?
            )));
        }
        Ok(Self {
            func,
            cache: cache.clone().unbind(),
            shared: cache.get().shared.clone(),
            load,
            identity,
            spelling,
            copy,
            hooks,
            rows: RowTypes::default(),
        })
    }

    /// The key of a call, or None when the arguments do not fit the callable (which then says so itself).
    fn key<'py>(
        &self,
        args: &[Bound<'py, PyAny>],
        kwargs: Option<&Bound<'py, PyDict>>,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, MemoKey>>> {
        let (instance, args) = match &self.identity {
            Identity::None => (None, args),
            _ => match args.split_first() {
                Some((instance, rest)) => (Some(instance), rest),
                None => return Ok(None),
            },
        };
        let Some(arguments) = self.spelling.arguments(args, kwargs, py)? else {
            return Ok(None);
        };
        let mut canonical = Vec::with_capacity(arguments.len() + 3);
        let class;
        let owner = match (&self.identity, instance) {
            (Identity::None, _) | (_, None) => Whose::Nobody,
            (Identity::Instance, Some(instance)) => Whose::Object(instance),
            (Identity::Class, Some(instance)) => {
                class = instance.get_type();
                Whose::Object(class.as_any())
            }
            (Identity::Auto | Identity::Row, Some(instance)) => {
                class = instance.get_type();
                match self.row(instance, &class)? {
                    Some(parts) => {
                        canonical.extend(parts);
                        Whose::Row(&class)
                    }
                    None => Whose::Object(instance),
                }
            }
            (Identity::By(identity), Some(instance)) => {
                let whose = outside::call(identity.bind(py), &PyTuple::new(py, [instance])?, None)?;
                canonical.push(typed::canonical(&whose, &|| {
                    format!("the identity of {}", self.name(py))
                })?);
                Whose::Nobody
            }
        };
        if let (Some(vary), Some(instance)) = (&self.hooks.vary, instance) {
            canonical.push(self.variant(vary.bind(py), instance)?);
        }
        for (position, argument) in arguments.iter().enumerate() {
            canonical.push(typed::canonical(argument, &|| {
                self.argument_name(position, py)
            })?);
        }
        MemoKey::new(py, owner, PyTuple::new(py, canonical)?).map(Some)
    }

    /// What names the row that an instance stands for: its database, with its scope if there is one, and its primary key.
    fn row<'py>(
        &self,
        instance: &Bound<'py, PyAny>,
        class: &Bound<'py, PyType>,
    ) -> PyResult<Option<[Bound<'py, PyAny>; ROW_ARGS]>> {
        let py = instance.py();
        let Some(attname) = self.rows.attname(class)? else {
            if matches!(self.identity, Identity::Row) {
                return Err(PyTypeError::new_err(format!(
                    "identity 'row' of {} is for model instances, and {} is no model; use 'auto' or 'instance'",
                    self.name(py),
                    class.fully_qualified_name()?
                )));
            }
            return Ok(None);
        };
        let Some(Row { alias, pk }) = Row::of(instance, &attname)? else {
            return Ok(None);
        };
        let pk = typed::canonical(&pk, &|| format!("the primary key of {}", self.name(py)))?;
        let place = match rows::scope(py)? {
            Some(scope) => PyTuple::new(py, [alias, scope])?.into_any(),
            None => alias,
        };
        let place = typed::canonical(&place, &|| format!("the row scope of {}", self.name(py)))?;
        Ok(Some([place, pk]))
    }

    /// What `vary` says of an instance, as one part of the key.
    fn variant<'py>(
        &self,
        vary: &Bound<'py, PyAny>,
        instance: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = vary.py();
        let parts = outside::call_with(vary, (instance,))?;
        if !parts.is_instance_of::<PyTuple>() {
            return Err(PyTypeError::new_err(format!(
                "vary of {} must give a tuple, not {}",
                self.name(py),
                outside::repr(&parts)?
            )));
        }
        typed::canonical(&parts, &|| format!("what {} varies by", self.name(py)))
    }

    pub(super) fn name(&self, py: Python<'_>) -> String {
        let name = outside::attribute(self.func.bind(py), intern!(py, "__qualname__"));
        name.map_or_else(
            |_| "the decorated callable".to_owned(),
            |name| format!("{name}()"),
        )
    }

    fn argument_name(&self, position: usize, py: Python<'_>) -> String {
        match self.spelling.parameter(position) {
            Some(parameter) => format!("argument '{}' of {}", parameter.bind(py), self.name(py)),
            None => format!("an argument of {}", self.name(py)),
        }
    }

    /// The call's result: from the cache, or from `load`.
    pub(super) fn call(
        &self,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = args.py();
        let given: Vec<Bound<'_, PyAny>> = args.iter().collect();
        let Some(key) = self.key(&given, kwargs, py)? else {
            return Ok(outside::call(self.func.bind(py), args, kwargs)?.unbind());
        };
        if is_bypassed(&key)? {
            return Ok(outside::call(self.func.bind(py), args, kwargs)?.unbind());
        }
        let current = match self.shared.read(key.as_any())? {
            Found::Fresh(value) => return self.handed(py, value),
            Found::Early(value) => value,
            Found::Miss => keys::missing(py),
        };
        let kwargs = match kwargs {
            Some(kwargs) => kwargs.copy()?,
            None => PyDict::new(py),
        };
        let call = (key, args, kwargs, current).into_pyobject(py)?;
        let value = outside::call(self.load.bind(py), &call, None)?.unbind();
        self.handed(py, value)
    }

    /// A value as the caller gets it: the one that is held, or with `copy` one of its own.
    fn handed(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        if !self.copy {
            return Ok(value);
        }
        let deepcopy = outside::import(intern!(py, "copy"))?.getattr(intern!(py, "deepcopy"))?;
        Ok(outside::call_with(&deepcopy, (value,))?.unbind())
    }

    pub(super) fn key_or_error<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, MemoKey>> {
        let py = args.py();
        let given: Vec<Bound<'_, PyAny>> = args.iter().collect();
        if let Some(key) = self.key(&given, kwargs, py)? {
            return Ok(key);
        }
        // Python words the complaint about arguments better than it could be worded here.
        let signature =
            outside::import(intern!(py, "inspect"))?.getattr(intern!(py, "signature"))?;
        let signature = outside::call_with(&signature, (&self.func,))?;
        outside::call(&signature.getattr(intern!(py, "bind"))?, args, kwargs)?;
        Err(PyTypeError::new_err(format!(
            "these arguments do not fit {}",
            self.name(py)
        )))
    }

    pub(super) fn lookup<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Looked<'py>> {
        let py = args.py();
        let key = self.key_or_error(args, kwargs)?;
        if is_bypassed(&key)? {
            return Ok((None, keys::missing(py), false));
        }
        Ok(match self.shared.read(key.as_any())? {
            Found::Fresh(value) => (Some(key), value, true),
            Found::Early(value) => (Some(key), value, false),
            Found::Miss => (Some(key), keys::missing(py), false),
        })
    }

    /// Forget the result of a call; whether it was held.
    pub(super) fn invalidate(
        &self,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        let key = self.key_or_error(args, kwargs)?;
        let was_live = self.shared.delete(key.as_any())?.was_live;
        if let Some(forgotten) = &self.hooks.forgotten
            && matches!(key.get().owner, Owner::Row(_))
        {
            outside::call_with(forgotten.bind(args.py()), (key,))?;
        }
        Ok(was_live)
    }

    /// Forget all results.
    pub(super) fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.clear(py);
        if let Some(forgotten) = &self.hooks.forgotten {
            outside::call_with(forgotten.bind(py), (py.None(),))?;
        }
        Ok(())
    }

    pub(super) fn cache_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        python_clock::heed(py);
        let (hits, misses, max_size, size) = {
            let table = self.shared.cache.lock();
            let counters = table.counters();
            (
                counters.hits,
                counters.misses,
                table.limits().max_size,
                table.len(),
            )
        };
        py.import("functools")?
            .getattr("_CacheInfo")?
            .call1((hits, misses, max_size, size))
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.func)?;
        visit.call(&self.cache)?;
        visit.call(&self.load)?;
        self.spelling.traverse(visit)?;
        visit.call(&self.hooks.vary)?;
        visit.call(&self.hooks.forgotten)?;
        self.rows.traverse(visit)?;
        match &self.identity {
            Identity::By(identity) => visit.call(identity),
            _ => Ok(()),
        }
    }
}

/// Is a row's cache to be left alone?
fn is_bypassed(key: &Bound<'_, MemoKey>) -> PyResult<bool> {
    match key.get().alias(key.py())? {
        Some(alias) => rows::is_bypassed(&alias),
        None => Ok(false),
    }
}

/// What `identity` may be, in messages.
pub(super) const IDENTITIES: &str = "'auto', 'row', 'instance', 'class' or a callable";

fn identity_of(given: &Bound<'_, PyAny>) -> PyResult<Identity> {
    if let Ok(name) = given.cast::<PyString>() {
        return match name.to_str()? {
            "none" => Ok(Identity::None),
            "instance" => Ok(Identity::Instance),
            "class" => Ok(Identity::Class),
            "auto" => Ok(Identity::Auto),
            "row" => Ok(Identity::Row),
            other => Err(PyValueError::new_err(format!(
                "identity must be {IDENTITIES}, not '{other}'"
            ))),
        };
    }
    if given.is_callable() {
        return Ok(Identity::By(given.clone().unbind()));
    }
    Err(PyTypeError::new_err(format!(
        "identity must be {IDENTITIES}, not {}",
        outside::repr(given)?
    )))
}
