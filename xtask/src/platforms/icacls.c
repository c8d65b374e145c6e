/* Stands in for wine's icacls, which does nothing. `icacls FILE /inheritance:r /q /grant:r *SID:F *SID:R ...`
 * gives the file that access control list, of which wine keeps what modes can say, and writes it down below
 * C:\windows. `icacls FILE /save RESULT /q` writes the list that wine has, where OW is the file's owner. */
#include <stdio.h>
#include <wchar.h>
#include <windows.h>
#include <aclapi.h>
#include <sddl.h>

#define LENGTH 1024

static void put(FILE *file, const wchar_t *text) {
    fwrite(text, sizeof *text, wcslen(text), file);
}

static int save(wchar_t *path, const wchar_t *result) {
    PSECURITY_DESCRIPTOR descriptor;
    PSID owner;
    PACL list = NULL;
    FILE *file;
    DWORD i;

    if (GetNamedSecurityInfoW(path, SE_FILE_OBJECT,
                              OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, &owner, NULL,
                              &list, NULL, &descriptor))
        return 1;
    if (!list || !(file = _wfopen(result, L"wb")))
        return 2;
    put(file, L"file\r\nD:");
    for (i = 0; i < list->AceCount; i++) {
        ACCESS_ALLOWED_ACE *entry;
        wchar_t text[LENGTH], *who;
        const wchar_t *kind;

        if (!GetAce(list, i, (void **)&entry) || !ConvertSidToStringSidW(&entry->SidStart, &who))
            return 3;
        kind = entry->Header.AceType == ACCESS_ALLOWED_ACE_TYPE ? L"A" : L"D";
        _snwprintf(text, LENGTH, L"(%ls;;0x%lx;;;%ls)", kind, entry->Mask,
                   EqualSid(&entry->SidStart, owner) ? L"OW" : who);
        put(file, text);
    }
    put(file, L"\r\n");
    return fclose(file) != 0;
}

static int grant(const wchar_t *path, wchar_t **entries, int count) {
    wchar_t list[LENGTH] = L"D:P";
    PSECURITY_DESCRIPTOR descriptor;
    FILE *log = _wfopen(L"C:\\windows\\icacls.log", L"a");
    int i;

    for (i = 0; i < count; i++) {
        wchar_t *right = wcsrchr(entries[i], L':');
        size_t end = wcslen(list);

        if (entries[i][0] != L'*' || !right)
            return 4;
        *right++ = 0;
        _snwprintf(list + end, LENGTH - end, L"(A;;F%ls;;;%ls)", *right == L'F' ? L"A" : L"R",
                   entries[i] + 1);
    }
    if (!log || fwprintf(log, L"%ls %ls\n", path, list) < 0 || fclose(log))
        return 5;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(list, SDDL_REVISION_1, &descriptor,
                                                              NULL))
        return 6;
    return SetFileSecurityW(path, DACL_SECURITY_INFORMATION, descriptor) ? 0 : 7;
}

int wmain(int count, wchar_t **arguments) {
    if (count == 5 && !wcscmp(arguments[2], L"/save"))
        return save(arguments[1], arguments[3]);
    if (count > 5 && !wcscmp(arguments[4], L"/grant:r"))
        return grant(arguments[1], arguments + 5, count - 5);
    return 8;
}
