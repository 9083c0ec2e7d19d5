/// Who runs an app's containers. What each does in a step of a deploy is in `deploy::scheduler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// The engine of this machine, container by container.
    Local,
}
