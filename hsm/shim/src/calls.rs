//! The calls that can be made to fail: those that a worker makes.

macro_rules! calls {
    ($($name:ident),* $(,)?) => {
        /// A call of PKCS#11, without its `C_`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Call {
            $(#[doc = concat!("`C_", stringify!($name), "`")] $name),*
        }

        impl Call {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

calls!(
    Initialize,
    Finalize,
    GetSlotList,
    GetTokenInfo,
    OpenSession,
    CloseSession,
    Login,
    FindObjectsInit,
    FindObjects,
    FindObjectsFinal,
    GetAttributeValue,
    SignInit,
    Sign,
    CopyObject,
);
