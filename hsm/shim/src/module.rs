//! The module: the real one's function list with some of the calls replaced by ones that may fail.

#![allow(non_snake_case, reason = "the names of the standard")]

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use cryptoki_sys::*;

use crate::control::{Control, Deed, When};
use crate::{CONTROL, Call, MODULE, kept};

/// How often a call that hangs looks whether it may go on.
const LOOK: Duration = Duration::from_millis(2);

/// The real module and what this process knows.
struct Real {
    list: CK_FUNCTION_LIST,
    ours: Ours,
    control: Control,
    /// The process that initialised it; 0 for none.
    owner: AtomicU32,
    /// Counted up when every session is lost.
    epoch: AtomicU64,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    /// Those that are open, by the epoch in which they were opened.
    open: HashMap<CK_SESSION_HANDLE, u64>,
    /// Those that a call is at work on.
    busy: HashSet<CK_SESSION_HANDLE>,
}

/// Our function list, which never moves.
struct Ours(CK_FUNCTION_LIST);

// SAFETY: a function list is a table of function pointers that is never written to after it was made.
unsafe impl Send for Ours {}
// SAFETY: as above.
unsafe impl Sync for Ours {}
// SAFETY: `list` is read only, and the module behind it is told by its caller to lock (`CKF_OS_LOCKING_OK`).
unsafe impl Send for Real {}
// SAFETY: as above.
unsafe impl Sync for Real {}

static REAL: OnceLock<Option<Real>> = OnceLock::new();

/// The module, loaded by the first call.
fn real() -> Option<&'static Real> {
    REAL.get_or_init(load).as_ref()
}

fn load() -> Option<Real> {
    let control = Control::open(Path::new(&std::env::var_os(CONTROL)?)).ok()?;
    // SAFETY: loading the module runs its initialisers, which is what the test asked for.
    let library = unsafe { libloading::Library::new(std::env::var_os(MODULE)?) }.ok()?;
    // It is never unloaded: its functions are called until the process ends.
    let library = Box::leak(Box::new(library));
    // SAFETY: the standard gives this symbol this type.
    let get_list =
        unsafe { library.get::<unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV>(b"C_GetFunctionList\0") };
    let mut list = std::ptr::null_mut();
    // SAFETY: called as the standard says, with a place for the pointer.
    if unsafe { get_list.ok()?(&mut list) } != CKR_OK || list.is_null() {
        return None;
    }
    // SAFETY: the module gave a pointer to its list, which lives as long as the module.
    let list = unsafe { *list };
    Some(Real {
        ours: Ours(replaced(list)),
        list,
        control,
        owner: AtomicU32::new(0),
        epoch: AtomicU64::new(0),
        sessions: Mutex::default(),
    })
}

/// The list with the calls of ours in it.
fn replaced(list: CK_FUNCTION_LIST) -> CK_FUNCTION_LIST {
    CK_FUNCTION_LIST {
        C_GetFunctionList: Some(C_GetFunctionList),
        C_Initialize: Some(initialize),
        C_Finalize: Some(finalize),
        C_GetSlotList: Some(get_slot_list),
        C_GetTokenInfo: Some(get_token_info),
        C_OpenSession: Some(open_session),
        C_CloseSession: Some(close_session),
        C_Login: Some(login),
        C_FindObjectsInit: Some(find_objects_init),
        C_FindObjects: Some(find_objects),
        C_FindObjectsFinal: Some(find_objects_final),
        C_GetAttributeValue: Some(get_attribute_value),
        C_SignInit: Some(sign_init),
        C_Sign: Some(sign),
        C_CopyObject: Some(copy_object),
        ..list
    }
}

/// The way in, as the standard has it.
///
/// # Safety
/// `list` must be null or point to a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let Some(real) = real() else { return CKR_GENERAL_ERROR };
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not null, and the caller says that it points to a place for a pointer.
    unsafe { *list = (&raw const real.ours.0).cast_mut() };
    CKR_OK
}

impl Real {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What every call goes through: rules, faults, and the real call in between. Gives the deed that is left for the caller.
    fn through(
        &self,
        call: Call,
        session: Option<CK_SESSION_HANDLE>,
        forward: impl FnOnce() -> CK_RV,
    ) -> (CK_RV, Option<Deed>) {
        self.control.count(call);
        let owner = self.owner.load(Ordering::Relaxed);
        if owner != 0 && owner != std::process::id() {
            self.control.forked.fetch_add(1, Ordering::Relaxed);
            return (CKR_CRYPTOKI_NOT_INITIALIZED, None);
        }
        if let Some(session) = session {
            if !self.sessions().busy.insert(session) {
                self.control.raced.fetch_add(1, Ordering::Relaxed);
                return (CKR_OPERATION_ACTIVE, None);
            }
            let outcome = self.on_session(call, session, forward);
            self.sessions().busy.remove(&session);
            return outcome;
        }
        self.with_fault(call, forward)
    }

    fn on_session(
        &self,
        call: Call,
        session: CK_SESSION_HANDLE,
        forward: impl FnOnce() -> CK_RV,
    ) -> (CK_RV, Option<Deed>) {
        let opened = self.sessions().open.get(&session).copied();
        if opened.is_some_and(|epoch| epoch < self.epoch.load(Ordering::Relaxed)) {
            return (CKR_SESSION_HANDLE_INVALID, None);
        }
        self.with_fault(call, forward)
    }

    fn with_fault(&self, call: Call, forward: impl FnOnce() -> CK_RV) -> (CK_RV, Option<Deed>) {
        let Some((slot, deed, when)) = self.control.draw(call) else { return (forward(), None) };
        match (deed, when) {
            (Deed::Flip(_) | Deed::Short, _) => (forward(), Some(deed)),
            (Deed::Delay(_) | Deed::Hang, When::Before) => {
                self.wait(slot, deed);
                (forward(), None)
            }
            (_, When::Before) => (self.fail(slot, deed, CKR_OK), None),
            (_, When::After) => {
                let done = forward();
                (self.fail(slot, deed, done), None)
            }
        }
    }

    /// What is done once the real call was made, or is not going to be.
    fn fail(&self, slot: usize, deed: Deed, done: CK_RV) -> CK_RV {
        match deed {
            Deed::Return(value) => value as CK_RV,
            Deed::Die => std::process::abort(),
            Deed::LoseSessions => {
                self.epoch.fetch_add(1, Ordering::Relaxed);
                CKR_SESSION_HANDLE_INVALID
            }
            Deed::Delay(_) | Deed::Hang | Deed::Flip(_) | Deed::Short => {
                self.wait(slot, deed);
                done
            }
        }
    }

    fn wait(&self, slot: usize, deed: Deed) {
        if let Deed::Delay(milliseconds) = deed {
            return std::thread::sleep(Duration::from_millis(milliseconds));
        }
        while deed == Deed::Hang && self.control.is_armed(slot) {
            std::thread::sleep(LOOK);
        }
    }
}

/// The real call of that name, with its arguments.
macro_rules! call {
    ($real:ident . $name:ident ( $($argument:expr),* )) => {
        match $real.list.$name {
            // SAFETY: the arguments are the caller's, passed on as they came, to the function that they were meant for.
            Some(function) => unsafe { function($($argument),*) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}

/// A call that is forwarded with nothing more to it than its faults.
macro_rules! forwarded {
    ($ours:ident, $name:ident, $call:ident, ($first:ident : $kind:ty $(, $argument:ident : $type:ty)*), $session:expr) => {
        unsafe extern "C" fn $ours($first: $kind $(, $argument: $type)*) -> CK_RV {
            let Some(real) = real() else { return CKR_GENERAL_ERROR };
            let session: Option<CK_SESSION_HANDLE> = $session;
            real.through(Call::$call, session, || call!(real.$name($first $(, $argument)*))).0
        }
    };
}

forwarded!(get_slot_list, C_GetSlotList, GetSlotList, (present: CK_BBOOL, list: *mut CK_SLOT_ID, count: *mut CK_ULONG), None);
forwarded!(find_objects_init, C_FindObjectsInit, FindObjectsInit,
    (session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG), Some(session));
forwarded!(find_objects, C_FindObjects, FindObjects,
    (session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, at_most: CK_ULONG, count: *mut CK_ULONG), Some(session));
forwarded!(find_objects_final, C_FindObjectsFinal, FindObjectsFinal, (session: CK_SESSION_HANDLE), Some(session));
forwarded!(get_attribute_value, C_GetAttributeValue, GetAttributeValue,
    (session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG), Some(session));
forwarded!(copy_object, C_CopyObject, CopyObject,
    (session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
    copy: *mut CK_OBJECT_HANDLE), Some(session));
forwarded!(sign_init, C_SignInit, SignInit,
    (session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE), Some(session));

unsafe extern "C" fn initialize(arguments: CK_VOID_PTR) -> CK_RV {
    let Some(real) = real() else { return CKR_GENERAL_ERROR };
    // A process that initialises it again after a fork keeps the rule.
    real.owner.store(0, Ordering::Relaxed);
    kept::put_back();
    let parameters = std::env::var(crate::PARAMETERS).ok().and_then(|text| CString::new(text).ok());
    let (value, _) = real.through(Call::Initialize, None, || match &parameters {
        None => call!(real.C_Initialize(arguments)),
        Some(parameters) => {
            let mut extended = Extended::of(parameters);
            call!(real.C_Initialize((&raw mut extended).cast()))
        }
    });
    if value == CKR_OK {
        real.owner.store(std::process::id(), Ordering::Relaxed);
    }
    value
}

/// `C_Initialize`'s arguments as NSS extends them: its parameters stand where the standard's reserved pointer does, and that
/// comes after them.
#[repr(C)]
struct Extended {
    standard: CK_C_INITIALIZE_ARGS,
    reserved: CK_VOID_PTR,
}

impl Extended {
    /// Points into `parameters`, which outlives the call.
    fn of(parameters: &CString) -> Self {
        let standard = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: parameters.as_ptr().cast_mut().cast(),
        };
        Self { standard, reserved: std::ptr::null_mut() }
    }
}

unsafe extern "C" fn get_token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    let Some(real) = real() else { return CKR_GENERAL_ERROR };
    let (value, _) = real.through(Call::GetTokenInfo, None, || call!(real.C_GetTokenInfo(slot, info)));
    if value == CKR_OK && !info.is_null() {
        // SAFETY: the real call succeeded with this pointer, so there is what it tells.
        let info = unsafe { &mut *info };
        // opencryptoki 3.8 tells the time of day as people write it, and the library that loads us takes nothing else of the token then.
        if !info.utcTime.iter().all(u8::is_ascii_digit) {
            info.flags &= !CKF_CLOCK_ON_TOKEN;
        }
    }
    value
}

unsafe extern "C" fn finalize(reserved: CK_VOID_PTR) -> CK_RV {
    let Some(real) = real() else { return CKR_GENERAL_ERROR };
    let (value, _) = real.through(Call::Finalize, None, || call!(real.C_Finalize(reserved)));
    if value == CKR_OK {
        real.owner.store(0, Ordering::Relaxed);
        let left = std::mem::take(&mut real.sessions().open).len();
        real.control.open_sessions.fetch_sub(left as i64, Ordering::Relaxed);
    }
    value
}

unsafe extern "C" fn open_session(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: CK_VOID_PTR,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let Some(real) = real() else { return CKR_GENERAL_ERROR };
    let open = || call!(real.C_OpenSession(slot, flags, application, notify, session));
    let (value, _) = real.through(Call::OpenSession, None, open);
    if value == CKR_OK {
        // SAFETY: the real call succeeded with this pointer, so it has written a handle there.
        let handle = unsafe { *session };
        real.sessions().open.insert(handle, real.epoch.load(Ordering::Relaxed));
        real.control.open_sessions.fetch_add(1, Ordering::Relaxed);
    }
    value
}

unsafe extern "C" fn close_session(session: CK_SESSION_HANDLE) -> CK_RV {
    let Some(real) = real() else { return CKR_GENERAL_ERROR };
    let (value, _) = real.through(Call::CloseSession, Some(session), || call!(real.C_CloseSession(session)));
    if real.sessions().open.remove(&session).is_some() {
        real.control.open_sessions.fetch_sub(1, Ordering::Relaxed);
    }
    value
}

unsafe extern "C" fn login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    let Some(real) = real() else { return CKR_GENERAL_ERROR };
    let at_most = real.control.pins_at_most.load(Ordering::Relaxed);
    let wrong = &real.control.wrong_pins;
    let is_locked = at_most > 0 && wrong.load(Ordering::Relaxed) >= at_most;
    kept::keep();
    let log_in = || if is_locked { CKR_PIN_LOCKED } else { call!(real.C_Login(session, user, pin, length)) };
    let (value, _) = real.through(Call::Login, Some(session), log_in);
    match value {
        CKR_OK => wrong.store(0, Ordering::Relaxed),
        CKR_PIN_INCORRECT => drop(wrong.fetch_add(1, Ordering::Relaxed)),
        _ => {}
    }
    value
}

unsafe extern "C" fn sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    signature: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> CK_RV {
    let Some(real) = real() else { return CKR_GENERAL_ERROR };
    let asks_for_length = signature.is_null();
    let forward = || call!(real.C_Sign(session, data, data_length, signature, length));
    // Asking for the length alone is no signature: what is done to signatures waits for the next call.
    if asks_for_length {
        return real.on_session_unharmed(session, forward);
    }
    let (value, deed) = real.through(Call::Sign, Some(session), forward);
    if value != CKR_OK {
        return value;
    }
    match deed {
        Some(Deed::Flip(bit)) => {
            let bit = bit.unwrap_or_else(|| real.control.any_bit());
            // SAFETY: the real call succeeded, so there are `*length` bytes at `signature`; a bit below that is flipped.
            unsafe {
                let at = usize::from(bit / 8) % (*length as usize).max(1);
                *signature.add(at) ^= 1 << (bit % 8);
            }
        }
        // SAFETY: the real call succeeded, so `length` points to the length.
        Some(Deed::Short) => unsafe { *length -= 1 },
        _ => {}
    }
    value
}

impl Real {
    fn on_session_unharmed(&self, session: CK_SESSION_HANDLE, forward: impl FnOnce() -> CK_RV) -> CK_RV {
        let opened = self.sessions().open.get(&session).copied();
        if opened.is_some_and(|epoch| epoch < self.epoch.load(Ordering::Relaxed)) {
            return CKR_SESSION_HANDLE_INVALID;
        }
        forward()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, How};

    /// With no module behind it, and a control that nobody shares.
    fn real(name: &str) -> Real {
        let path = std::env::temp_dir().join(format!("rederive-shim-{}-{name}", std::process::id()));
        let control = Control::open(&path).expect("mapped");
        std::fs::remove_file(path).expect("it stays mapped");
        let list = CK_FUNCTION_LIST::default();
        Real {
            list,
            ours: Ours(list),
            control,
            owner: AtomicU32::new(std::process::id()),
            epoch: AtomicU64::new(0),
            sessions: Mutex::default(),
        }
    }

    /// What tests elsewhere expect none of.
    #[test]
    fn breaches_of_the_rules_are_counted() {
        let real = real("rules");
        assert_eq!(real.through(Call::Sign, Some(1), || CKR_OK).0, CKR_OK);
        let beside = || real.through(Call::Sign, Some(2), || CKR_OK).0;
        assert_eq!(real.through(Call::Sign, Some(1), beside).0, CKR_OK, "another session may");
        assert_eq!((real.control.forked(), real.control.raced()), (0, 0));
        let within = || real.through(Call::SignInit, Some(1), || CKR_OK).0;
        assert_eq!(real.through(Call::Sign, Some(1), within).0, CKR_OPERATION_ACTIVE, "two calls on a session");
        real.owner.store(std::process::id() + 1, Ordering::Relaxed);
        assert_eq!(real.through(Call::Sign, Some(1), || CKR_OK).0, CKR_CRYPTOKI_NOT_INITIALIZED, "after a fork");
        assert_eq!((real.control.forked(), real.control.raced()), (1, 1));
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_is_told() {
        let real = real("faults");
        let strikes = |how, when| {
            real.control.arm(0, Fault { call: Call::Sign, deed: Deed::Return(5), when, how });
            let (mut effects, mut struck) = (0, 0);
            for _ in 0..1000 {
                let (value, _) = real.through(Call::Sign, None, || {
                    effects += 1;
                    CKR_OK
                });
                struck += u32::from(value == 5);
                assert_eq!(real.through(Call::SignInit, None, || CKR_OK).0, CKR_OK, "another call");
            }
            real.control.disarm_all();
            (struck, effects)
        };
        assert_eq!(strikes(How::Times(3), When::Before), (3, 997));
        assert_eq!(strikes(How::Times(3), When::After), (3, 1000));
        assert_eq!(strikes(How::ForGood, When::Before), (1000, 0));
        let (struck, effects) = strikes(How::Rate(300_000), When::Before);
        assert!((200..400).contains(&struck) && effects == 1000 - struck, "{struck} of 1,000 at 30 %");
        assert_eq!(real.control.injected(Call::Sign), u64::from(1006 + struck));
    }
}
