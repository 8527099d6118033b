//! The control socket's file: made for the owner and its group, replaced where its daemon is dead, removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, chown};

use super::server::ServeError;

/// The group that may use the socket besides its owner, where the system has it.
pub const GROUP: &str = "vtepd";

/// A bound control socket. Dropping it removes the file, and the directory where it was made for it and is empty.
#[derive(Debug)]
pub(super) struct ControlSocket {
    path: PathBuf,
    /// Device and inode, so that another daemon's socket of the same name is not removed.
    identity: (u64, u64),
    made_directory: Option<PathBuf>,
}

impl ControlSocket {
    /// Binds the socket at `path`, mode 0660.
    pub(super) fn bind(path: &Path) -> Result<(Self, UnixListener), ServeError> {
        let error = |source| ServeError::Socket { path: path.to_owned(), source };
        let made_directory = make_directory(path).map_err(error)?;
        clear_stale(path)?;
        // Until its mode is set, the usual umask lets nobody but the owner connect. Setting the mask here instead
        // would change it for every thread of the process.
        let listener = UnixListener::bind(path).map_err(error)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        if let Ok(Some(group)) = Group::from_name(GROUP) {
            // An unprivileged daemon outside the group may not give the socket to it; its owner can still use it.
            if let Err(refused) = chown(path, None, Some(group.gid)) {
                tracing::warn!(path = %path.display(), group = GROUP, %refused, "control socket keeps its group");
            }
        }
        let metadata = fs::symlink_metadata(path).map_err(error)?;
        let socket = Self { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()), made_directory };
        Ok((socket, listener))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(ours)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "control socket left behind");
        }
        if let Some(directory) = &self.made_directory {
            // It is not empty where another instance has its socket there.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Makes the socket's directory where it is missing; its parent must exist.
fn make_directory(path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(None);
    };
    match fs::create_dir(directory) {
        Ok(()) => {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
            Ok(Some(directory.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the socket of a dead daemon; refuses to touch a live one's, or what is no socket.
fn clear_stale(path: &Path) -> Result<(), ServeError> {
    let error = |source| ServeError::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(other) => return Err(error(other)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ServeError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(dead) if dead.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(error),
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(other) => Err(error(other)),
        Ok(_) => Err(ServeError::SocketLive { path: path.to_owned() }),
    }
}
