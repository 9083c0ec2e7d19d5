/// What kind of failure it is. This alone chooses the exit code and the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line, a file or a value was malformed.
    Usage,
    /// Something named does not exist.
    NotFound,
    /// Something exists already, or is in a state that forbids the action.
    Conflict,
    /// The actor may not do this.
    Denied,
    /// The user's app failed: its build, its check, its task.
    App,
    /// Another action holds the app, or somebody locked it.
    Busy,
    /// Docker, Caddy, the database or a file of the server cannot be used, or the machine is out of space.
    Unavailable,
    /// A bug of ours.
    Bug,
    /// The action was interrupted or cancelled.
    Interrupted,
}

impl Kind {
    /// All of them, by exit code.
    pub const ALL: [Kind; 9] = [
        Kind::App,
        Kind::Usage,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Denied,
        Kind::Busy,
        Kind::Unavailable,
        Kind::Bug,
        Kind::Interrupted,
    ];

    /// The word for it, for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::App => "app",
            Kind::Usage => "usage",
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
            Kind::Denied => "denied",
            Kind::Busy => "busy",
            Kind::Unavailable => "unavailable",
            Kind::Bug => "bug",
            Kind::Interrupted => "interrupted",
        }
    }

    /// What it means, for docs/reference.md.
    pub fn about(self) -> &'static str {
        match self {
            Kind::App => "the app failed: its build, its health check, its release command, a file of its repository",
            Kind::Usage => "the command line, a setting or a value is malformed",
            Kind::NotFound => "what was named does not exist",
            Kind::Conflict => "it exists already, or its state does not allow this",
            Kind::Denied => "this user may not do it",
            Kind::Busy => "another action holds the app, changed it meanwhile, or the app is locked",
            Kind::Unavailable => "Docker, Caddy, the disk, the database or its secret key is not available",
            Kind::Bug => "a bug of paas",
            Kind::Interrupted => "it was interrupted or canceled",
        }
    }

    /// The process exit code of this kind (docs/reference.md lists them).
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::App => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Conflict => 4,
            Kind::Denied => 5,
            Kind::Busy => 6,
            Kind::Unavailable => 69,
            Kind::Bug => 70,
            Kind::Interrupted => 130,
        }
    }

    /// The HTTP status of an answer that reports a failure of this kind.
    pub fn http_status(self) -> u16 {
        match self {
            Kind::Usage => 400,
            Kind::Denied => 403,
            Kind::NotFound => 404,
            Kind::Conflict => 409,
            Kind::App => 422,
            Kind::Busy => 423,
            Kind::Bug => 500,
            // A request is interrupted only where the server stops.
            Kind::Unavailable | Kind::Interrupted => 503,
        }
    }
}
