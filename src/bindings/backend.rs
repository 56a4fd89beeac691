//! `BackendBase`: what `oxicache.django.backends.NativeCache` is made of, Django's cache API with its hot methods native.
//!
//! A handler's keys are not made into strings as long as Django's own functions would make them. Any change of its
//! `make_key`, `validate_key`, `make_and_validate_key` or `key_func`, on the instance or on a class, sends each call through
//! them, with the same results.

// Long because pyo3 takes one block of methods a class, and Django gives this one many names.

use parking_lot::lock_api::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::args;
use super::backend_key::{self, Name, Owned};
use super::backend_settings::{self as settings, METHODS, Settings};
use super::clock as python_clock;
use super::fastcall;
use super::gil_lock::TableLock;
use super::native_store::{Life, NativeStore, Storing};
use super::outside;
use crate::engine::clock::{self, FOREVER, Nanos, Now};

/// A handler of the Django backend: subclass it together with `BaseCache`.
#[pyclass(frozen, subclass, module = "oxicache._native")]
pub(super) struct BackendBase {
    pub(super) settings: Mutex<TableLock, Settings>,
}

/// What a call needs to know of its handler.
struct Call<'py> {
    store: Bound<'py, NativeStore>,
    owned: Owned<'py>,
    /// Django's functions have seen the key already.
    is_validated: bool,
}

/// What the settings say about making keys.
struct Making<'py> {
    store: Bound<'py, NativeStore>,
    prefix: Bound<'py, PyString>,
    number: Option<i64>,
    salt: Option<u64>,
    version: Bound<'py, PyAny>,
    is_plain: bool,
}

impl BackendBase {
    fn making<'py>(slf: &Bound<'py, Self>) -> PyResult<Making<'py>> {
        let py = slf.py();
        Self::look_at_type(slf)?;
        let settings = slf.get().settings.lock();
        let Some(store) = &settings.store else {
            return Err(PyRuntimeError::new_err(
                "the handler has no store; give it one with _attach(store)",
            ));
        };
        Ok(Making {
            store: store.bind(py).clone(),
            prefix: settings.prefix.bind(py).clone(),
            number: settings.number,
            salt: settings.salt,
            version: settings.version.bind(py).clone(),
            is_plain: settings.is_plain,
        })
    }

    pub(super) fn store<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, NativeStore>> {
        Ok(Self::making(slf)?.store)
    }

    /// Find out whether keys are made as Django does, if the type was changed since.
    fn look_at_type(slf: &Bound<'_, Self>) -> PyResult<()> {
        let tag = fastcall::type_tag(slf.as_any());
        let (known, key_func) = {
            let settings = slf.get().settings.lock();
            let key_func = settings
                .key_func
                .as_ref()
                .map(|key_func| key_func.clone_ref(slf.py()));
            (settings.tag, key_func)
        };
        if tag != 0 && tag == known {
            return Ok(());
        }
        let key_func = key_func.as_ref().map(|key_func| key_func.bind(slf.py()));
        let (tag, is_plain) = settings::is_plain(slf.as_any(), key_func)?;
        let mut settings = slf.get().settings.lock();
        (settings.tag, settings.is_plain) = (tag, is_plain);
        Ok(())
    }

    fn forget_type(&self) {
        self.settings.lock().tag = 0;
    }

    /// What a key is, for this handler.
    fn call<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Call<'py>> {
        let making = Self::making(slf)?;
        Self::call_of(slf, &making, key, version)
    }

    fn call_of<'py>(
        slf: &Bound<'py, Self>,
        making: &Making<'py>,
        key: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Call<'py>> {
        let py = slf.py();
        let store = making.store.clone();
        let prefix = &making.prefix;
        if !making.is_plain {
            let kwargs = PyDict::new(py);
            kwargs.set_item(intern!(py, "version"), version)?;
            let make = outside::attribute(slf.as_any(), intern!(py, "make_and_validate_key"))?;
            let made = outside::call(&make, &PyTuple::new(py, [key])?, Some(&kwargs))?;
            let made = backend_key::text_of(&made)?;
            return Ok(Call {
                store,
                owned: Owned::parsed(prefix, &made)?,
                is_validated: true,
            });
        }
        let key = backend_key::text_of(key)?;
        let number = match version {
            None => making.number.ok_or(()),
            Some(version) => backend_key::version_of(version)?.map_err(|_| ()),
        };
        let owned = match number {
            Ok(number) if version.is_none() => {
                Owned::salted(prefix.clone(), number, making.salt, key)?
            }
            Ok(number) => Owned::new(prefix, number, key)?,
            Err(()) => {
                let version = backend_key::text_of(version.unwrap_or(&making.version))?;
                let made = backend_key::made(prefix, &version, &key)?;
                Owned::parsed(prefix, &made)?
            }
        };
        Ok(Call {
            store,
            owned,
            is_validated: false,
        })
    }

    /// As `call`, for a key that is stored under or was missed: Django may have to warn of it.
    fn checked<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Call<'py>> {
        let call = Self::call(slf, key, version)?;
        Self::check(slf, &call)?;
        Ok(call)
    }

    fn check(slf: &Bound<'_, Self>, call: &Call<'_>) -> PyResult<()> {
        let name = Name::of(&call.owned);
        if call.is_validated || name.is_portable() {
            return Ok(());
        }
        let py = slf.py();
        let validate = outside::attribute(slf.as_any(), intern!(py, "validate_key"))?;
        outside::call_with(&validate, (name.text()?,))?;
        Ok(())
    }

    fn life(&self, timeout: Option<&Bound<'_, PyAny>>, py: Python<'_>) -> PyResult<Life> {
        match timeout {
            Some(timeout) if !timeout.is(&settings::django(py)?.default_timeout) => {
                settings::life_of(timeout)
            }
            _ => Ok(self.settings.lock().life),
        }
    }

    /// Read a key; None, noted, when it is missed.
    fn read(slf: &Bound<'_, Self>, call: &Call<'_>) -> PyResult<Option<Py<PyAny>>> {
        let name = Name::of(&call.owned);
        let store = call.store.get();
        let found = store.read(slf.py(), &name)?;
        if found.is_none() {
            Self::check(slf, call)?;
            store.missed(slf.py(), &name)?;
        }
        Ok(found)
    }

    /// Take over a store, a prefix or a version.
    fn apply(&self, py: Python<'_>, change: impl FnOnce(&mut Settings)) -> PyResult<()> {
        let (store, prefix, version) = {
            let mut settings = self.settings.lock();
            change(&mut settings);
            (
                settings.store.as_ref().map(|store| store.clone_ref(py)),
                settings.key_prefix.clone_ref(py),
                settings.version.clone_ref(py),
            )
        };
        let store = store.as_ref().map(Py::get);
        let parts = settings::parts(store, prefix.bind(py), version.bind(py))?;
        let before = {
            let mut settings = self.settings.lock();
            settings.number = parts.number;
            settings.salt = parts.salt;
            settings.word_start = parts.word_start;
            settings.prefix_length = parts.prefix_length;
            std::mem::replace(&mut settings.prefix, parts.prefix)
        };
        drop(before);
        Ok(())
    }
}

/// Seconds until a deadline; None for ever.
fn seconds_left(deadline: Nanos, now: Now) -> Option<f64> {
    (deadline != FOREVER).then(|| clock::seconds(deadline.saturating_sub(now.at())))
}

#[pymethods]
impl BackendBase {
    /// `store`: the memory; what else is given is for `__init__`.
    #[new]
    #[pyo3(signature = (*args, **_kwargs))]
    fn new(args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let py = args.py();
        let handler = Self {
            settings: Mutex::new(Settings::new(py)),
        };
        if let Ok(first) = args.get_item(0)
            && let Ok(store) = first.cast_into::<NativeStore>()
        {
            handler.attach(py, store.unbind())?;
        }
        Ok(handler)
    }

    /// Use this store's memory.
    #[pyo3(name = "_attach")]
    fn attach(&self, py: Python<'_>, store: Py<NativeStore>) -> PyResult<()> {
        let mut before = Some(store);
        self.apply(py, |settings| {
            std::mem::swap(&mut settings.store, &mut before);
        })
    }

    /// The memory.
    #[getter(_store)]
    fn get_store(&self, py: Python<'_>) -> Option<Py<NativeStore>> {
        let settings = self.settings.lock();
        settings.store.as_ref().map(|store| store.clone_ref(py))
    }

    /// The key that the store has: a str or a `BackendKey`. Warns of it as Django does.
    #[pyo3(signature = (key, version=None))]
    fn _key<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Name::of(&Self::checked(slf, key, version)?.owned).object()
    }

    /// Seconds that an entry lives for a timeout: None for ever, 0 for one that is over already.
    #[pyo3(signature = (timeout=None))]
    fn _seconds(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<f64>> {
        let none = py.None();
        Ok(
            match self.life(Some(timeout.unwrap_or(none.bind(py))), py)? {
                Life::Over => Some(0.0),
                Life::For(FOREVER) => None,
                Life::For(ttl) => Some(clock::seconds(ttl)),
            },
        )
    }

    /// The value, or `default` when there is none. Another object than was stored, wherever that makes a difference.
    #[pyo3(signature = (key, default=None, version=None))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        default: Option<Py<PyAny>>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let found = Self::read(slf, &Self::call(slf, key, version)?)?;
        Ok(found.or(default).unwrap_or_else(|| slf.py().None()))
    }

    /// The values that there are, by the keys as they were given.
    #[pyo3(signature = (keys, version=None))]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        keys: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let making = Self::making(slf)?;
        let found = PyDict::new(py);
        for key in outside::iterate(keys)? {
            let key = key?;
            let call = Self::call_of(slf, &making, &key, version)?;
            if let Some(value) = Self::read(slf, &call)? {
                outside::insert(&found, &key, value.bind(py))?;
            }
            outside::release(key.unbind(), py);
        }
        Ok(found)
    }

    /// Store a value. A fill when this thread or task just missed the key, else a write, which outdates every other copy;
    /// `write=True` says that it is one. `nx=True` makes it an `add`, as in django-redis.
    #[pyo3(signature = (key, value, timeout=args::Passed::No, version=None, tags=None, write=false, nx=false))]
    #[expect(clippy::too_many_arguments, reason = "named arguments, in Python")]
    fn set<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        timeout: args::Passed<Bound<'py, PyAny>>,
        version: Option<&Bound<'py, PyAny>>,
        tags: Option<&Bound<'py, PyAny>>,
        write: bool,
        nx: bool,
    ) -> PyResult<Option<bool>> {
        if nx {
            return Self::add(slf, key, value, timeout, version, tags).map(Some);
        }
        let py = slf.py();
        let call = Self::checked(slf, key, version)?;
        let storing = Storing {
            life: slf.get().life(given(&timeout), py)?,
            tags: &args::tags(tags)?,
            is_write: write,
        };
        call.store
            .get()
            .write(py, &Name::of(&call.owned), value, &storing)?;
        Ok(None)
    }

    /// Store a value unless there is one; whether there was none. Says nothing to other processes.
    #[pyo3(signature = (key, value, timeout=args::Passed::No, version=None, tags=None))]
    fn add<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        timeout: args::Passed<Bound<'py, PyAny>>,
        version: Option<&Bound<'py, PyAny>>,
        tags: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let py = slf.py();
        let call = Self::checked(slf, key, version)?;
        let storing = Storing {
            life: slf.get().life(given(&timeout), py)?,
            tags: &args::tags(tags)?,
            is_write: true,
        };
        call.store
            .get()
            .add(py, &Name::of(&call.owned), value, &storing)
    }

    /// Store each item of a mapping; the keys that could not be stored, of which there are none.
    #[pyo3(signature = (data, timeout=args::Passed::No, version=None, tags=None, write=false))]
    fn set_many<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        timeout: args::Passed<Bound<'py, PyAny>>,
        version: Option<&Bound<'py, PyAny>>,
        tags: Option<&Bound<'py, PyAny>>,
        write: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let making = Self::making(slf)?;
        let storing = Storing {
            life: slf.get().life(given(&timeout), py)?,
            tags: &args::tags(tags)?,
            is_write: write,
        };
        let pairs = outside::call_method(data, intern!(py, "items"))?;
        for pair in outside::iterate(&pairs)? {
            let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
            let call = Self::call_of(slf, &making, &key, version)?;
            Self::check(slf, &call)?;
            call.store
                .get()
                .write(py, &Name::of(&call.owned), &value, &storing)?;
        }
        Ok(PyList::empty(py))
    }

    /// Remove an entry, here and in every process; whether there was a live one here.
    #[pyo3(signature = (key, version=None))]
    fn delete<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let call = Self::checked(slf, key, version)?;
        call.store.get().remove(slf.py(), &Name::of(&call.owned))
    }

    /// Remove each of these, here and in every process.
    #[pyo3(signature = (keys, version=None))]
    fn delete_many<'py>(
        slf: &Bound<'py, Self>,
        keys: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let making = Self::making(slf)?;
        for key in outside::iterate(keys)? {
            let key = key?;
            let call = Self::call_of(slf, &making, &key, version)?;
            Self::check(slf, &call)?;
            call.store.get().remove(py, &Name::of(&call.owned))?;
            outside::release(key.unbind(), py);
        }
        Ok(())
    }

    /// Whether there is a live entry.
    #[pyo3(signature = (key, version=None))]
    fn has_key<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let call = Self::checked(slf, key, version)?;
        let (store, name) = (call.store.get(), Name::of(&call.owned));
        let is_there = store.has(slf.py(), &name)?;
        if !is_there {
            store.missed(slf.py(), &name)?;
        }
        Ok(is_there)
    }

    /// Give a live entry another timeout; whether there was one. Says nothing to other processes.
    #[pyo3(signature = (key, timeout=args::Passed::No, version=None))]
    fn touch<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        timeout: args::Passed<Bound<'py, PyAny>>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let py = slf.py();
        let call = Self::checked(slf, key, version)?;
        let life = slf.get().life(given(&timeout), py)?;
        call.store
            .get()
            .retime(py, &Name::of(&call.owned), |now| match life {
                Life::For(ttl) => now.after(ttl),
                Life::Over => now.at(),
            })
    }

    /// Add to a value, which keeps its timeout; the sum. ValueError without a live entry. Says nothing to other processes.
    #[pyo3(signature = (key, delta=None, version=None))]
    fn incr<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        delta: Option<&Bound<'py, PyAny>>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let call = Self::checked(slf, key, version)?;
        let name = Name::of(&call.owned);
        let one = PyInt::new(py, 1).into_any();
        match call.store.get().add_to(py, &name, delta.unwrap_or(&one))? {
            Some(sum) => Ok(sum),
            None => {
                // Not through a Rust string, which would lose lone surrogates.
                let message = PyString::new(py, "Key '").add(name.text()?)?;
                Err(PyValueError::new_err(message.add("' not found")?.unbind()))
            }
        }
    }

    /// Remove everything of the store, here and in every process.
    fn clear(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::store(slf)?.get().clear_all(slf.py())
    }

    /// Remove the entries with this tag, here and in every process; how many were here.
    fn delete_by_tag(slf: &Bound<'_, Self>, tag: &Bound<'_, PyAny>) -> PyResult<usize> {
        let tag = args::tag_name(tag)?;
        Self::store(slf)?.get().delete_tag(slf.py(), &tag)
    }

    /// Seconds until an entry expires: inf for ever, None without a live entry.
    #[pyo3(signature = (key, version=None))]
    fn time_left<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<f64>> {
        let call = Self::checked(slf, key, version)?;
        let found = call
            .store
            .get()
            .deadline(slf.py(), &Name::of(&call.owned))?;
        Ok(found.map(|(deadline, now)| seconds_left(deadline, now).unwrap_or(f64::INFINITY)))
    }

    /// (value, seconds until it expires or None for ever); (default, 0) without a live entry.
    #[pyo3(signature = (key, default=None, version=None))]
    fn get_with_ttl<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        default: Option<Py<PyAny>>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Py<PyAny>, Option<f64>)> {
        let py = slf.py();
        let call = Self::call(slf, key, version)?;
        let left = call.store.get().deadline(py, &Name::of(&call.owned))?;
        match Self::read(slf, &call)? {
            Some(value) => Ok((
                value,
                left.map_or(Some(0.0), |(deadline, now)| seconds_left(deadline, now)),
            )),
            None => Ok((default.unwrap_or_else(|| py.None()), Some(0.0))),
        }
    }

    /// Have a live entry expire at a second of `time.time()`, or at a datetime; whether there was one.
    #[pyo3(signature = (key, when, version=None))]
    fn expire_at<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        when: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let py = slf.py();
        let call = Self::checked(slf, key, version)?;
        let seconds = match outside::attribute_if_any(when, intern!(py, "timestamp"))? {
            Some(tell) => outside::float(&outside::call(&tell, &PyTuple::empty(py), None)?)?,
            None => outside::float(when)?,
        };
        let deadline = python_clock::from_wall(py, seconds)?;
        call.store
            .get()
            .retime(py, &Name::of(&call.owned), |_| deadline)
    }

    /// Have a live entry live for ever; whether there was one.
    #[pyo3(signature = (key, version=None))]
    fn persist<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        let call = Self::checked(slf, key, version)?;
        call.store
            .get()
            .retime(slf.py(), &Name::of(&call.owned), |_| FOREVER)
    }

    fn __setattr__(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        outside::set_attribute(slf.as_any(), name.as_any(), Some(value))?;
        Self::attribute_changed(slf, name);
        Ok(())
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        outside::set_attribute(slf.as_any(), name.as_any(), None)?;
        Self::attribute_changed(slf, name);
        Ok(())
    }

    #[getter]
    fn key_prefix(&self, py: Python<'_>) -> Py<PyAny> {
        self.settings.lock().key_prefix.clone_ref(py)
    }

    #[setter]
    fn set_key_prefix(&self, py: Python<'_>, key_prefix: Py<PyAny>) -> PyResult<()> {
        let mut before = key_prefix;
        self.apply(py, |settings| {
            std::mem::swap(&mut settings.key_prefix, &mut before);
        })
    }

    #[getter]
    fn version(&self, py: Python<'_>) -> Py<PyAny> {
        self.settings.lock().version.clone_ref(py)
    }

    #[setter]
    fn set_version(&self, py: Python<'_>, version: Py<PyAny>) -> PyResult<()> {
        let mut before = version;
        self.apply(py, |settings| {
            std::mem::swap(&mut settings.version, &mut before);
        })
    }

    #[getter]
    fn key_func(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let settings = self.settings.lock();
        settings
            .key_func
            .as_ref()
            .map(|key_func| key_func.clone_ref(py))
    }

    #[setter]
    fn set_key_func(&self, key_func: Py<PyAny>) {
        let before = {
            let mut settings = self.settings.lock();
            settings.tag = 0;
            settings.key_func.replace(key_func)
        };
        drop(before);
    }

    #[getter]
    fn default_timeout(&self, py: Python<'_>) -> Py<PyAny> {
        self.settings.lock().default_timeout.clone_ref(py)
    }

    #[setter]
    fn set_default_timeout(&self, timeout: &Bound<'_, PyAny>) -> PyResult<()> {
        let life = settings::life_of(timeout)?;
        let before = {
            let mut settings = self.settings.lock();
            settings.life = life;
            std::mem::replace(&mut settings.default_timeout, timeout.clone().unbind())
        };
        drop(before);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Never wait here: the lock's holder may be stopped, waiting for this collection to end.
        let Some(settings) = self.settings.try_lock() else {
            return Ok(());
        };
        visit.call(&settings.store)?;
        visit.call(&settings.key_prefix)?;
        visit.call(&settings.version)?;
        visit.call(&settings.key_func)?;
        visit.call(&settings.default_timeout)
    }

    fn __clear__(&self) {
        let cleared = self
            .settings
            .try_lock()
            .map(|mut settings| (settings.store.take(), settings.key_func.take()));
        drop(cleared);
    }
}

impl BackendBase {
    /// An attribute of a handler's own may stand before a method of its class.
    fn attribute_changed(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) {
        if name.to_str().is_ok_and(|name| METHODS.contains(&name)) {
            slf.get().forget_type();
        }
    }
}

fn given<'a, 'py>(timeout: &'a args::Passed<Bound<'py, PyAny>>) -> Option<&'a Bound<'py, PyAny>> {
    match timeout {
        args::Passed::Yes(timeout) => Some(timeout),
        args::Passed::No => None,
    }
}

/// Hand over `django.core.cache.backends.base`, which says what Django's own functions and its default timeout are.
#[pyfunction]
#[pyo3(signature = (module, /))]
pub(super) fn set_backend_module(module: &Bound<'_, PyAny>) -> PyResult<()> {
    settings::set_module(module)
}
