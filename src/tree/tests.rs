use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
};

use git2::{ObjectType, Signature};
use tempfile::TempDir;

use super::{content::STREAMED, *};
use crate::exec;

/// A bare repository that is written object by object, so that it can be hostile.
struct Bare {
    directory: TempDir,
    repository: Repository,
}

impl Bare {
    fn new() -> Bare {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path()).unwrap();
        Bare { directory, repository }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn blob(&self, content: &[u8]) -> Oid {
        self.repository.blob(content).unwrap()
    }

    /// A tree of these entries as they are: mode, name, object.
    fn tree(&self, entries: &[(&str, &str, Oid)]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, oid) in entries {
            bytes.extend(format!("{mode} {name}\0").into_bytes());
            bytes.extend(oid.as_bytes());
        }
        self.repository.odb().unwrap().write(ObjectType::Tree, &bytes).unwrap()
    }

    fn commit(&self, tree: Oid) -> CommitId {
        let who = Signature::new("a", "a@example.com", &git2::Time::new(1_700_000_000, 0)).unwrap();
        let tree = self.repository.find_tree(tree).unwrap();
        let oid = self.repository.commit(None, &who, &who, "x", &tree, &[]).unwrap();
        self.repository.reference("refs/heads/main", oid, true, "x").unwrap();
        oid.into()
    }

    /// A commit of regular files, one directory deep at most.
    fn commit_files(&self, files: &[(&str, &str)]) -> CommitId {
        let mut index = git2::Index::new().unwrap();
        for (path, content) in files {
            let mode = if path.ends_with(".sh") { 0o100_755 } else { 0o100_644 };
            let time = git2::IndexTime::new(0, 0);
            let entry = git2::IndexEntry {
                ctime: time,
                mtime: time,
                dev: 0,
                ino: 0,
                mode,
                uid: 0,
                gid: 0,
                file_size: 0,
                id: self.blob(content.as_bytes()),
                flags: 0,
                flags_extended: 0,
                path: path.as_bytes().to_vec(),
            };
            index.add(&entry).unwrap();
        }
        self.commit(index.write_tree_to(&self.repository).unwrap())
    }
}

/// Work that may fetch from this machine.
fn work() -> Work {
    Work::new(Limits { private_addresses: true, ..Limits::usual().unwrap() })
}

/// The tree of a commit without submodules.
fn tree_of(repository: &Path, commit: CommitId) -> Result<Tree> {
    tree_within(repository, commit, *work().limits())
}

fn tree_within(repository: &Path, commit: CommitId, limits: Limits) -> Result<Tree> {
    let work = Work::new(limits);
    let mut walk = Walk::new(work.clone());
    let (time, _) = walk.add(repository, commit.oid(), Path::new(""))?;
    Tree::of_walk(walk, time, work)
}

async fn fetch(repository: &Path, commit: CommitId, cache: &Path) -> Result<Tree> {
    Tree::commit(repository, commit, cache, &work()).await
}

/// Each entry of a tar on one line: type, mode, owner, time, path and content.
fn listing(tar: &[u8]) -> String {
    let mut lines = String::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let (kind, mode, owner) = (header.entry_type(), header.mode().unwrap(), header.uid().unwrap());
        let time = header.mtime().unwrap();
        let path = entry.path().unwrap().display().to_string();
        let link = entry.link_name().unwrap().map(|link| format!(" -> {}", link.display())).unwrap_or_default();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        let content = if content.len() > 40 { format!("{} bytes", content.len()) } else { format!("{content:?}") };
        let kind = format!("{kind:?}");
        lines.push_str(&format!("{kind:<10}{mode:o} {owner} {time} {path}{link} {content}\n"));
    }
    lines
}

fn tar_of(tree: &Tree, extra: &[(String, Added)], ignore: &DockerIgnore) -> Vec<u8> {
    let mut tar = Vec::new();
    tree.write_tar(&mut tar, extra, ignore).unwrap();
    tar
}

#[test]
fn a_commit_becomes_a_tar() {
    let bare = Bare::new();
    let inner = bare.tree(&[("100644", "a.txt", bare.blob(b"a")), ("100755", "b.sh", bare.blob(b"b"))]);
    let long = "n".repeat(150);
    let commit = bare.commit(bare.tree(&[
        ("100644", "Dockerfile", bare.blob(b"FROM x")),
        ("40000", "dir", inner),
        ("120000", "link", bare.blob(b"../outside")),
        ("100644", &long, bare.blob(b"long")),
        ("100644", "secret", bare.blob(b"s")),
    ]));
    let tree = tree_of(bare.path(), commit).unwrap();
    let content = |text: &str| Added::Content(text.as_bytes().to_vec());
    let extra = [(".paas/Dockerfile".to_owned(), content("FROM y")), ("Dockerfile".to_owned(), content("FROM z"))];
    let ignore = DockerIgnore::parse(".dockerignore", "secret\n").unwrap();
    let tar = tar_of(&tree, &extra, &ignore);
    assert_eq!(tar, tar_of(&tree, &extra, &ignore), "the same commit makes the same bytes");
    insta::assert_snapshot!(listing(&tar).replace(&long, "LONG"), @r#"
    Directory 755 0 1700000000 .paas ""
    Regular   644 0 1700000000 .paas/Dockerfile "FROM y"
    Regular   644 0 1700000000 Dockerfile "FROM z"
    Directory 755 0 1700000000 dir ""
    Regular   644 0 1700000000 dir/a.txt "a"
    Regular   755 0 1700000000 dir/b.sh "b"
    Symlink   777 0 1700000000 link -> ../outside ""
    Regular   644 0 1700000000 LONG "long"
    "#);
    assert_eq!(tree.top_level(), ["Dockerfile", "dir/", "link", &long, "secret"]);
}

#[tokio::test]
async fn a_large_file_is_whole_wherever_git_keeps_it() {
    let bare = Bare::new();
    let large: String = (0..1_600_000).map(|number| format!("{number} ")).collect();
    assert!(large.len() as u64 > STREAMED);
    // Nothing of what git would do to files on their way to a work tree, or into an archive, is done here.
    let attributes = "* filter=x ident eol=crlf text export-ignore working-tree-encoding=UTF-16\n";
    let twice = large.replace(' ', "\n");
    let commit =
        bare.commit_files(&[(".gitattributes", attributes), ("large", &large), ("small", "small"), ("x", &twice)]);
    let tar = || {
        let tree = tree_of(bare.path(), commit).unwrap();
        tar_of(&tree, &[], &DockerIgnore::none())
    };
    let loose = tar();
    let mut content = String::new();
    tar::Archive::new(loose.as_slice())
        .entries()
        .unwrap()
        .nth(1)
        .unwrap()
        .unwrap()
        .read_to_string(&mut content)
        .unwrap();
    assert!(content == large, "{} bytes of {}", content.len(), large.len());
    let mut repack = exec::command("git");
    repack.current_dir(bare.path()).args(["repack", "-adq"]);
    exec::output(repack).await.unwrap();
    assert!(fs::read_dir(bare.path().join("objects/pack")).unwrap().count() > 0);
    assert!(tar() == loose, "packed or not");
}

#[test]
fn files_are_read_through_links_that_stay_within() {
    let bare = Bare::new();
    let inner = bare.tree(&[("120000", "up", bare.blob(b"../a")), ("120000", "out", bare.blob(b"../../etc/passwd"))]);
    let commit = bare.commit(bare.tree(&[
        ("100644", "a", bare.blob(b"\xef\xbb\xbftext")),
        ("40000", "dir", inner),
        ("120000", "link", bare.blob(b"dir/up")),
        ("120000", "loop", bare.blob(b"loop")),
        ("120000", "root", bare.blob(b"/etc/passwd")),
    ]));
    let tree = tree_of(bare.path(), commit).unwrap();
    assert_eq!(tree.read_text("link").unwrap().unwrap(), "text");
    for path in ["dir/out", "loop", "root", "dir", "missing", "../a", "/a"] {
        assert!(!tree.exists(path), "{path}");
        assert!(tree.read_text(path).unwrap().is_none(), "{path}");
    }
    assert!(tree.has_directory("dir"));
    assert!(!tree.has_directory("a"));
}

#[test]
fn a_directory_is_a_source_of_its_own() {
    let bare = Bare::new();
    let inner = bare.tree(&[
        ("100644", "b", bare.blob(b"b")),
        ("120000", "near", bare.blob(b"b")),
        ("120000", "out", bare.blob(b"../a")),
    ]);
    let commit = bare.commit(bare.tree(&[
        ("100644", "a", bare.blob(b"a")),
        ("40000", "dir", bare.tree(&[("40000", "sub", inner)])),
        ("100644", "dir-b", bare.blob(b"")),
    ]));
    let tree = tree_of(bare.path(), commit).unwrap().below("dir/sub");
    let paths: Vec<_> = tree.files().iter().map(|entry| entry.path.display().to_string()).collect();
    assert_eq!(paths, ["b", "near", "out"]);
    assert_eq!(tree.read_text("near").unwrap().as_deref(), Some("b"));
    assert!(!tree.exists("out") && !tree.exists("a"));
    assert!(tree.below("nothing").files().is_empty());
    assert!(listing(&tar_of(&tree, &[], &DockerIgnore::none())).contains("\"b\""));
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("x/y")).unwrap();
    fs::write(directory.path().join("x/y/z"), "z").unwrap();
    let tree = Tree::usual(directory.path()).unwrap().below("x").below("y");
    assert_eq!(tree.read_text("z").unwrap().as_deref(), Some("z"));
}

#[test]
fn a_file_of_any_size_is_in_the_context_a_second_time() {
    let bare = Bare::new();
    let tool = bare.tree(&[("100644", "tool.js", bare.blob(&vec![b' '; 3 * READ_LIMIT as usize]))]);
    let commit = bare.commit(bare.tree(&[("40000", "tools", tool)]));
    let tree = tree_of(bare.path(), commit).unwrap();
    let extra = [("first/tools/tool.js".to_owned(), Added::Copy("tools/tool.js".into()))];
    let tar = tar_of(&tree, &extra, &DockerIgnore::parse(".dockerignore", "tools\n").unwrap());
    insta::assert_snapshot!(listing(&tar), @r#"
    Directory 755 0 1700000000 first ""
    Directory 755 0 1700000000 first/tools ""
    Regular   644 0 1700000000 first/tools/tool.js 3145728 bytes
    "#);
    let missing = [("x".to_owned(), Added::Copy("nowhere".into()))];
    tree.write_tar(io::sink(), &missing, &DockerIgnore::default()).unwrap_err();
}

#[test]
fn a_file_too_large_for_a_manifest_is_refused() {
    let bare = Bare::new();
    let large = bare.blob(&vec![b' '; 1 + READ_LIMIT as usize]);
    let commit = bare.commit(bare.tree(&[("100644", "package.json", large)]));
    let tree = tree_of(bare.path(), commit).unwrap();
    let error = tree.read_text("package.json").unwrap_err();
    assert_eq!(error.to_string(), "package.json: it has 1048577 bytes, more than the limit of 1048576 for such a file");
}

#[test]
fn hostile_trees_are_refused() {
    let bare = Bare::new();
    let file = bare.blob(b"x");
    let inner = bare.tree(&[("100644", "x", file)]);
    for entries in [
        &[("100644", "..", file)][..],
        &[("40000", "..", inner)],
        &[("40000", ".git", inner)],
        &[("40000", ".GIT", inner)],
        &[("100644", ".Git", file)],
        &[("100644", "a/b", file)],
        &[("100644", "/etc", file)],
        &[("100644", "a", file), ("100644", "a", file)],
        &[("120000", "a", file), ("40000", "a", inner)],
    ] {
        let commit = bare.commit(bare.tree(entries));
        let result = tree_of(bare.path(), commit);
        assert!(matches!(result, Err(Error::Source(SourceError::Unreadable { .. }))), "{entries:?}");
    }
}

#[test]
fn a_directory_is_read_as_a_push_would() {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write(".git/HEAD", "ref: refs/heads/main\n");
    write(".gitignore", "node_modules\n");
    write("node_modules/x/index.js", "");
    write("src/.git/config", "");
    write("src/main.js", "main");
    write(".env.example", "");
    std::os::unix::fs::symlink("src/main.js", directory.path().join("link")).unwrap();
    let tree = Tree::usual(directory.path()).unwrap();
    let paths: Vec<_> = tree.files().iter().map(|entry| entry.path.display().to_string()).collect();
    assert_eq!(paths, [".env.example", ".gitignore", "link", "src/main.js"]);
    assert_eq!(tree.read_text("link").unwrap().unwrap(), "main");
}

/// Serves the files of a directory over HTTP, as long as the test runs.
fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(io::Result::ok);
            let Some(request) = lines.next() else { continue };
            for _ in lines.take_while(|line| !line.is_empty()) {}
            let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap();
            if path.starts_with("/moved") {
                let head = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/x/info/refs\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                drop(stream.write_all(head.as_bytes()));
                continue;
            }
            let (status, body) = match fs::read(directory.join(path.trim_start_matches('/'))) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
        }
    });
    format!("http://{address}")
}

async fn offer(bare: &Bare) {
    let mut command = exec::command("git");
    command.current_dir(bare.path()).args(["update-server-info"]);
    exec::output(command).await.unwrap();
}

#[tokio::test]
async fn submodules_are_fetched_once_and_walked() {
    let root = tempfile::tempdir().unwrap();
    let url = serve(root.path().to_owned());
    let link = |bare: &Bare, path: &str, commit: CommitId, address: &str| {
        let modules = format!("[submodule \"x\"]\n\tpath = {path}\n\turl = {address}\n");
        bare.commit(bare.tree(&[
            ("100644", ".gitmodules", bare.blob(modules.as_bytes())),
            ("100644", "file", bare.blob(path.as_bytes())),
            ("160000", path, commit.oid()),
        ]))
    };
    let (inner, middle, outer) = (Bare::new(), Bare::new(), Bare::new());
    for (name, bare) in [("inner.git", &inner), ("middle.git", &middle)] {
        std::os::unix::fs::symlink(bare.path(), root.path().join(name)).unwrap();
    }
    let deep = inner.commit_files(&[("deep/file", "deep")]);
    let middle_commit = link(&middle, "in", deep, &format!("{url}/inner.git"));
    let commit = link(&outer, "mid", middle_commit, &format!("{url}/middle.git"));
    offer(&inner).await;
    offer(&middle).await;

    let cache = tempfile::tempdir().unwrap();
    let tree = fetch(outer.path(), commit, cache.path()).await.unwrap();
    let paths: Vec<_> = tree.files().iter().map(|entry| entry.path.display().to_string()).collect();
    assert_eq!(paths, [".gitmodules", "file", "mid/.gitmodules", "mid/file", "mid/in/deep/file"]);
    assert_eq!(tree.read_text("mid/in/deep/file").unwrap().unwrap(), "deep");

    // A commit that is already there is not fetched again.
    fs::remove_file(root.path().join("inner.git")).unwrap();
    fs::remove_file(root.path().join("middle.git")).unwrap();
    assert_eq!(fetch(outer.path(), commit, cache.path()).await.unwrap().files().len(), 5);

    // And the error names a commit that cannot be fetched.
    let missing = link(&outer, "mid", commit, &format!("{}/gone.git", url.replace("//", "//user:secret@")));
    let error = fetch(outer.path(), missing, cache.path()).await.unwrap_err();
    assert!(matches!(&error, Error::Source(SourceError::Submodule { path, .. }) if path == "mid"), "{error}");
    assert!(!format!("{error} {:?}", error.hint()).contains("secret"), "{error}");
}

#[tokio::test]
async fn submodules_that_lead_elsewhere_are_refused() {
    let bare = Bare::new();
    let commit = bare.commit_files(&[("a", "a")]);
    let cache = tempfile::tempdir().unwrap();
    let mut said = String::new();
    for address in [
        "../lib.git",
        "/srv/git/lib.git",
        "file:///srv/git/lib.git",
        "ext::sh -c 'touch /tmp/hacked'",
        "ext::sh",
        "--upload-pack=touch",
        "-x:y",
        "ssh://-oProxyCommand=touch/x",
        "git@-oProxyCommand:x",
        "https://",
        "lib",
    ] {
        let modules = format!("[submodule \"x\"]\n\tpath = lib\n\turl = \"{address}\"\n");
        let commit = bare.commit(
            bare.tree(&[("100644", ".gitmodules", bare.blob(modules.as_bytes())), ("160000", "lib", commit.oid())]),
        );
        let error = fetch(bare.path(), commit, cache.path()).await.unwrap_err();
        assert!(error.hint().unwrap().contains("git submodule set-url lib"), "{error}");
        said.push_str(&format!("{error}\n"));
    }
    let commit = bare.commit(bare.tree(&[("160000", "lib", commit.oid())]));
    said.push_str(&fetch(bare.path(), commit, cache.path()).await.unwrap_err().to_string());
    insta::assert_snapshot!(said, @r"
    cannot fetch the submodule lib: ../lib.git is relative, and the server does not know what it is relative to
    cannot fetch the submodule lib: /srv/git/lib.git does not use https, http, git or ssh
    cannot fetch the submodule lib: file:///srv/git/lib.git does not use https, http, git or ssh
    cannot fetch the submodule lib: ext::sh -c 'touch /tmp/hacked' is not a valid address
    cannot fetch the submodule lib: ext::sh does not use https, http, git or ssh
    cannot fetch the submodule lib: --upload-pack=touch does not use https, http, git or ssh
    cannot fetch the submodule lib: -x:y does not use https, http, git or ssh
    cannot fetch the submodule lib: ssh://-oProxyCommand=touch/x is not a valid address
    cannot fetch the submodule lib: git@-oProxyCommand:x does not use https, http, git or ssh
    cannot fetch the submodule lib: https:// is not a valid address
    cannot fetch the submodule lib: lib does not use https, http, git or ssh
    cannot fetch the submodule lib: it is a link to a commit of another repository, and .gitmodules has no url for it
    ");
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

/// A tree of ten times a tree of ten times..., with a file at the end of each path.
fn bomb(bare: &Bare, levels: usize) -> Oid {
    let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
    let of = |mode: &str, oid: Oid| {
        let entries: Vec<(&str, &str, Oid)> = names.iter().map(|name| (mode, name.as_str(), oid)).collect();
        bare.tree(&entries)
    };
    (1..levels).fold(of("100644", bare.blob(b"")), |tree, _| of("40000", tree))
}

#[test]
fn what_is_over_a_limit_is_refused_with_its_name() {
    let bare = Bare::new();
    let usual = *work().limits();
    let refused = |tree: Oid, limits: Limits| {
        let commit = bare.commit(tree);
        let read = tree_within(bare.path(), commit, limits).and_then(|tree| {
            tree.write_tar(io::sink(), &[], &DockerIgnore::none())?;
            tree.read_text("a").map(drop)
        });
        let error = read.unwrap_err();
        assert!(error.hint().unwrap().contains("paas settings:set source_max_"), "{error}");
        error.to_string()
    };
    let mut said = Vec::new();
    for levels in [7, 10, 25, 150] {
        said.push(refused(bomb(&bare, levels), usual));
    }
    let nested =
        (0..300).fold(bare.tree(&[("100644", "a", bare.blob(b""))]), |tree, _| bare.tree(&[("40000", "d", tree)]));
    said.push(refused(nested, usual));
    let long = "n".repeat(200);
    let wide = bare.tree(&[("100644", &long, bare.blob(b"")), ("40000", "d", bomb(&bare, 2))]);
    said.push(refused(wide, Limits { paths: 500, ..usual }));
    said.push(refused(wide, Limits { files: 50, ..usual }));
    let files = bare.tree(&[("100644", "a", bare.blob(b"0123456789")), ("100644", "b", bare.blob(b"0123456789"))]);
    said.push(refused(files, Limits { file: 9, ..usual }));
    said.push(refused(files, Limits { size: 19, ..usual }));
    said.push(refused(files, Limits { read: 9, ..usual }));
    insta::assert_snapshot!(said.join("\n"), @r"
    the commit has 11111110 files and directories: the limit is 1000000
    the commit has 11111111110 files and directories: the limit is 1000000
    the commit has too many files and directories: the limit is 1000000
    the commit has too many files and directories: the limit is 1000000
    the directories of the commit are nested too deeply: the limit is 200
    the paths of the commit are 1053 bytes long together: the limit is 500 bytes
    the commit has 112 files and directories: the limit is 50
    the file a has 10 bytes: the limit is 9 bytes
    the files of the build context are too large together: the limit is 19 bytes
    the files that say how this repository is built are too large together: the limit is 9 bytes
    ");
}

#[test]
fn a_link_of_any_length_is_not_read() {
    let bare = Bare::new();
    let commit = bare.commit(bare.tree(&[("120000", "a", bare.blob(&[b'x'; 5000]))]));
    let tree = tree_of(bare.path(), commit).unwrap();
    assert!(tree.read_text("a").unwrap_err().to_string().contains("longer than 4096 bytes"));
    tree.write_tar(io::sink(), &[], &DockerIgnore::none()).unwrap_err();
}

#[test]
fn work_that_was_stopped_reads_nothing_more() {
    let bare = Bare::new();
    let commit = bare.commit_files(&[("a", "a")]);
    let tree = tree_of(bare.path(), commit).unwrap();
    tree.work().stop();
    assert!(matches!(tree.read_text("a"), Err(Error::Interrupted)));
    assert!(matches!(tree.write_tar(io::sink(), &[], &DockerIgnore::none()), Err(Error::Interrupted)));
    let work = work();
    work.stop();
    assert!(matches!(Walk::new(work).add(bare.path(), commit.oid(), Path::new("")), Err(Error::Interrupted)));
}

/// Not even one that is there: git config includes files, and a pipe would wait for ever.
#[tokio::test]
async fn gitmodules_reads_no_file_of_the_host() {
    let bare = Bare::new();
    let host = tempfile::tempdir().unwrap();
    let (file, pipe) = (host.path().join("config"), host.path().join("pipe"));
    fs::write(&file, "[submodule \"x\"]\n\tpath = lib\n\turl = http://127.0.0.1:1/of-the-host\n").unwrap();
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let commit = bare.commit_files(&[("a", "a")]);
    let cache = tempfile::tempdir().unwrap();
    let pushed = |modules: &str, mode: &str| {
        let modules = bare.blob(modules.as_bytes());
        bare.commit(bare.tree(&[(mode, ".gitmodules", modules), ("160000", "lib", commit.oid())]))
    };
    for section in ["include", "includeIf \"gitdir:**\"", "includeIf \"gitdir:/\"", "includeIf \"onbranch:**\""] {
        for path in [file.to_str().unwrap(), pipe.to_str().unwrap(), "/etc/shadow", "/dev/zero", "~/.gitconfig", "."] {
            let modules =
                format!("[{section}]\n\tpath = {path}\n[submodule \"y\"]\n\tpath = other\n\turl = https://x.test/y\n");
            let error = fetch(bare.path(), pushed(&modules, "100644"), cache.path()).await.unwrap_err();
            assert!(error.to_string().ends_with(".gitmodules has no url for it"), "{section} {path}: {error}");
        }
    }
    for link in [file.to_str().unwrap(), "/etc/shadow", "../../../../etc/shadow"] {
        let error = fetch(bare.path(), pushed(link, "120000"), cache.path()).await.unwrap_err();
        assert!(error.to_string().ends_with(".gitmodules has no url for it"), "{link}: {error}");
    }
    for malformed in ["[submodule", "=x", "[submodule \"a\"]\nurl\n= x"] {
        let error = fetch(bare.path(), pushed(malformed, "100644"), cache.path()).await.unwrap_err();
        assert!(error.to_string().starts_with(".gitmodules: bad config line"), "{malformed}: {error}");
    }
}

#[tokio::test]
async fn a_server_is_asked_where_it_redirects_to_before_it_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let url = serve(root.path().to_owned());
    let target = Bare::new();
    let (settings, address) =
        (["-c", "http.followRedirects=false"].map(str::to_owned).to_vec(), format!("{url}/moved"));
    let told = addresses::Told { address, settings, ..Default::default() };
    let error = submodules::fetch_refs(target.path(), &told, &[], &["refs/heads/main"], &work()).await.unwrap_err();
    assert!(error.to_string().contains("returned error: 30") || format!("{error:?}").contains("returned error: 30"));
    let location = submodules::location(target.path(), &told, &work()).await.unwrap();
    assert_eq!(location.as_deref(), Some("http://169.254.169.254/x/info/refs"));
    // What it redirects to is looked at as the first address was.
    let first = addresses::Address::parse(Path::new("lib"), &told.address).unwrap();
    let next = first.redirected(Path::new("lib"), &location.unwrap()).unwrap();
    let closed = Work::new(Limits::usual().unwrap());
    assert!(next.told(Path::new("lib"), &closed).await.unwrap_err().to_string().contains("leads to 169.254.169.254"));
}

#[test]
fn a_directory_is_read_without_opening_pipes_and_devices() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = |path: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    };
    fs::write(directory.path().join("a"), "a").unwrap();
    for passed_over in ["Dockerfile", "package.json", "sub/x"] {
        pipe(passed_over);
    }
    std::os::unix::fs::symlink("/dev/zero", directory.path().join("Procfile")).unwrap();
    std::os::unix::fs::symlink("Dockerfile", directory.path().join("link")).unwrap();
    let tree = Tree::usual(directory.path()).unwrap();
    let paths: Vec<_> = tree.files().iter().map(|entry| entry.path.display().to_string()).collect();
    assert_eq!(paths, ["Procfile", "a", "link"]);
    assert!(!tree.exists("Procfile") && !tree.exists("link"));
    // A file that became a pipe since.
    fs::remove_file(directory.path().join("a")).unwrap();
    let now = pipe("a");
    assert!(tree.read_text("a").unwrap_err().to_string().ends_with("it is not a regular file"));
    fs::remove_file(now).unwrap();
    for place in ["sub/.gitignore", "sub/deep/er/.gitignore", ".gitignore"] {
        let odd = pipe(place);
        let error = Tree::usual(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read the source: {}: it is not a regular file", odd.display()));
        assert!(Tree::usual(odd.parent().unwrap()).is_err());
        fs::remove_file(&odd).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &odd).unwrap();
        Tree::usual(directory.path()).unwrap_err();
        fs::remove_file(&odd).unwrap();
    }
}
