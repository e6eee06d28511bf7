//! A UEFI program of 1 KiB, assembled here: prints a line, waits, then restarts the machine, switches it off
//! or hangs. So the tests need no boot loader of any distribution.

/// What the program does at its end.
#[derive(Clone, Copy)]
pub enum End {
    Restart,
    PowerOff,
    Hang,
}

/// Microseconds between the line and the end, so that the line gets out.
const PAUSE: u32 = 300_000;
/// Where code begins, in memory and in the file.
const CODE_AT: u32 = 0x1000;
const HEADERS: usize = 0x200;
const CODE_ROOM: usize = 0x200;

/// The program as a PE32+ image.
pub fn program(line: &str, end: End) -> Vec<u8> {
    let mut code = vec![
        0x53, // push rbx
        0x48, 0x83, 0xec, 0x20, // sub rsp, 32
        0x48, 0x89, 0xd3, // mov rbx, rdx                 ; the system table
        0x48, 0x8b, 0x4b, 0x40, // mov rcx, [rbx+0x40]    ; ConOut
        0x48, 0x8d, 0x15, 0, 0, 0, 0, // lea rdx, [rip+text]
        0xff, 0x51, 0x08, // call [rcx+8]                 ; OutputString
        0x48, 0x8b, 0x43, 0x60, // mov rax, [rbx+0x60]    ; boot services
    ];
    let displacement = 15; // of `text` in the lea above; it counts from the instruction's end
    code.push(0xb9); // mov ecx, PAUSE
    code.extend(PAUSE.to_le_bytes());
    code.extend([0xff, 0x90, 0xf8, 0, 0, 0]); // call [rax+0xf8]  ; Stall
    let kind = match end {
        End::Restart => Some(0_u32),
        End::PowerOff => Some(2),
        End::Hang => None,
    };
    if let Some(kind) = kind {
        code.extend([0x48, 0x8b, 0x43, 0x58, 0xb9]); // mov rax, [rbx+0x58] ; runtime services; mov ecx, kind
        code.extend(kind.to_le_bytes());
        code.extend([0x31, 0xd2, 0x45, 0x31, 0xc0, 0x45, 0x31, 0xc9]); // edx = r8d = r9d = 0
        code.extend([0xff, 0x50, 0x68]); // call [rax+0x68] ; ResetSystem
    }
    code.extend([0xeb, 0xfe]); // hang
    let text = u32::try_from(code.len() - (displacement + 4)).unwrap();
    code[displacement..displacement + 4].copy_from_slice(&text.to_le_bytes());
    code.extend(format!("{line}\r\n").encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    assert!(code.len() <= CODE_ROOM);
    code.resize(CODE_ROOM, 0);
    let mut image = headers();
    image.extend(code);
    image
}

fn headers() -> Vec<u8> {
    let mut image = vec![0; 64];
    image[..2].copy_from_slice(b"MZ");
    image[60] = 64;
    image.extend(b"PE\0\0");
    let mut put = |bytes: &[u8]| image.extend(bytes);
    put(&0x8664_u16.to_le_bytes()); // x86-64
    put(&1_u16.to_le_bytes()); // sections
    put(&[0; 12]);
    put(&0xf0_u16.to_le_bytes()); // size of the optional header
    put(&0x0022_u16.to_le_bytes()); // executable, large addresses
    put(&0x020b_u16.to_le_bytes()); // PE32+
    put(&[0; 2]);
    put(&0x200_u32.to_le_bytes()); // size of code
    put(&[0; 8]);
    put(&CODE_AT.to_le_bytes()); // entry
    put(&CODE_AT.to_le_bytes()); // base of code
    put(&[0; 8]); // image base
    put(&0x1000_u32.to_le_bytes()); // alignment in memory
    put(&0x200_u32.to_le_bytes()); // alignment in the file
    put(&[0; 16]);
    put(&0x2000_u32.to_le_bytes()); // size in memory
    put(&0x200_u32.to_le_bytes()); // size of headers
    put(&[0; 4]);
    put(&10_u16.to_le_bytes()); // EFI application
    put(&[0; 2 + 32 + 4]);
    put(&16_u32.to_le_bytes()); // data directories, all empty
    put(&[0; 128]);
    put(b".text\0\0\0");
    put(&0x200_u32.to_le_bytes()); // size in memory
    put(&CODE_AT.to_le_bytes());
    put(&0x200_u32.to_le_bytes()); // size in the file
    put(&0x200_u32.to_le_bytes()); // offset in the file
    put(&[0; 12]);
    put(&0xe000_0020_u32.to_le_bytes()); // code, executable, readable, writable
    assert!(image.len() <= HEADERS);
    image.resize(HEADERS, 0);
    image
}
