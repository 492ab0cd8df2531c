//! ELF images: which symbol covers a file offset.
