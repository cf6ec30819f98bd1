//! Whether the kernel of this host sees every write to a file.

use std::os::fd::AsFd;

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, HUGETLBFS_MAGIC, ISOFS_SUPER_MAGIC,
    JFFS2_SUPER_MAGIC, MSDOS_SUPER_MAGIC, NILFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, REISERFS_SUPER_MAGIC,
    TMPFS_MAGIC, UDF_SUPER_MAGIC, fstatfs,
};

/// File systems to which only this host writes, and only through themselves. On others, such as NFS, SMB, 9p, Ceph and
/// FUSE, a server or another program writes, and inotify(7) does not report it. The lower directories of overlayfs must
/// not be changed while it is mounted.
const LOCAL: [FsType; 12] = [
    EXT4_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    MSDOS_SUPER_MAGIC,
    NILFS_SUPER_MAGIC,
    REISERFS_SUPER_MAGIC,
    JFFS2_SUPER_MAGIC,
    UDF_SUPER_MAGIC,
    ISOFS_SUPER_MAGIC,
    HUGETLBFS_MAGIC,
];

/// Local file systems without a name in every libc: XFS, ramfs, ZFS, bcachefs, JFS, UBIFS, exFAT, NTFS, HFS+.
const NAMELESS: [u32; 9] = [
    0x5846_5342,
    0x8584_58f6,
    0x2fc1_2fc1,
    0xca45_1a4e,
    0x3153_464a,
    0x2405_1905,
    0x2011_bab0,
    0x7366_746e,
    0x482b,
];

/// Whether inotify(7) reports every write to this file. If unsure, no.
pub(super) fn is_local(open: &impl AsFd) -> bool {
    fstatfs(open).is_ok_and(|state| {
        let kind = state.filesystem_type();
        LOCAL.contains(&kind) || NAMELESS.contains(&(kind.0 as u32))
    })
}
