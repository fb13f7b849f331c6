//! THE TABLE of the App Server's commands, with the access that each requires of a client token.

macro_rules! commands {
    ($($name:ident $wire:literal;)+) => {
        /// A command of the App Server's protocol.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "each is described by its row")]
        pub enum Command { $($name,)+ }

        impl Command {
            /// Every command, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The command's `type` on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ }
            }
        }
    };
}

commands! {
    AppServerInfo "app_server_info";
    RuntimeStart "runtime_start";
    Input "input";
}
