/* A user's click on an icon of tray-icon's: waits for the icon's window, and tells it that each entry of its
 * menu was chosen. Wine does not tell where an icon is, and without that the library opens no menu. */
#include <stdio.h>
#include <windows.h>

/* Entries of the library's menus are numbered from here on. */
enum { FIRST = 1000, LAST = 1009 };

int wmain(void)
{
    HWND icon = NULL;
    for (int i = 0; i < 600 && !icon; i++) {
        icon = FindWindowW(L"tray_icon_app", NULL);
        Sleep(50);
    }
    if (!icon) {
        fputs("there is no icon\n", stderr);
        return 1;
    }
    for (int entry = FIRST; entry <= LAST; entry++)
        SendMessageW(icon, WM_COMMAND, entry, 0);
    return 0;
}
