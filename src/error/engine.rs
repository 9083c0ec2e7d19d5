use super::{Advice, BoxError, Kind, advice::MAKE_ROOM};

/// What the container engine cannot do, or why it cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Docker does not answer.
    #[error("Docker does not answer at {address}")]
    Unavailable {
        /// Where it was looked for.
        address: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The connection to Docker ended in the middle of an answer.
    #[error("Docker went away when it should {action}")]
    Lost {
        /// What was asked of it, as a verb phrase.
        action: String,
        /// How the connection ended.
        #[source]
        source: BoxError,
    },
    /// Docker's disk is full.
    #[error("Docker could not {action}")]
    NoSpace {
        /// What was asked of it, as a verb phrase.
        action: String,
        /// Its answer.
        #[source]
        source: BoxError,
    },
    /// Docker answered with another error.
    #[error("Docker could not {action}")]
    Failed {
        /// What was asked of it, as a verb phrase.
        action: String,
        /// Its answer.
        #[source]
        source: BoxError,
    },
    /// The network of the containers cannot be made, because another one has its addresses.
    #[error("the addresses {subnet} are used by another network of this machine")]
    SubnetTaken {
        /// The subnet that was asked for.
        subnet: String,
    },
    /// A container cannot have its address, because another container of the engine has it.
    #[error("the address {address} is used by a container that is not paas's")]
    AddressTaken {
        /// The address.
        address: std::net::Ipv4Addr,
    },
    /// Something that this engine or this machine cannot do.
    #[error("{reason}")]
    Unsupported {
        /// What it cannot do.
        reason: String,
    },
    /// An image cannot be pulled.
    #[error("cannot pull the image {image}")]
    ImagePull {
        /// The image.
        image: String,
        /// Docker's answer.
        #[source]
        source: BoxError,
    },
}

impl EngineError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            EngineError::Unavailable { .. } => Advice::new(
                Kind::Unavailable,
                "start it with `systemctl start docker`, or set DOCKER_HOST to the address where it listens; \
                 a user other than root must be in the docker group",
            )
            .short("Docker does not answer"),
            EngineError::Lost { .. } => Advice::new(
                Kind::Unavailable,
                "`systemctl status docker` shows why it ended; once it answers again, do this again",
            ),
            EngineError::NoSpace { .. } => Advice::new(Kind::Unavailable, MAKE_ROOM),
            EngineError::Failed { .. } => {
                Advice::new(Kind::Unavailable, "`docker info` shows whether Docker is well; its log has more")
            }
            EngineError::SubnetTaken { .. } => Advice::new(
                Kind::Unavailable,
                "set PAAS_SUBNET to a network that is free, e.g. 10.214.0.0/16; `ip route` shows those in use",
            ),
            EngineError::AddressTaken { .. } => Advice::new(
                Kind::Unavailable,
                "`docker network ls` and `docker network inspect NETWORK` show which container has it; \
                 move that container to a network of its own",
            ),
            EngineError::Unsupported { .. } => Advice::without_hint(Kind::Unavailable),
            EngineError::ImagePull { image, .. } => Advice::new(
                Kind::Unavailable,
                format!("check the image's name, and that this server can reach its registry: `docker pull {image}`"),
            ),
        }
    }
}
