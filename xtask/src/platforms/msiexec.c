/* Stands in for what wine's Windows Installer lacks. Wine removes the version that an upgrade replaces
 * by `msiexec /qn /i {product} REMOVE=ALL`, and does not tell it, as Windows does by
 * UPGRADINGPRODUCTCODE, that another comes; it finds this program by that name, beside the one that
 * called the installer. So this one is called with a package, properties and a log instead of wine's.
 * Called with `wait` it keeps the Windows running that services live in, and says so. */
#include <stdio.h>
#include <windows.h>
#include <msi.h>

#define BY_AN_UPGRADE L"REMOVE=ALL UPGRADINGPRODUCTCODE={00000000-0000-0000-0000-000000000000}"

int wmain(int count, wchar_t **arguments) {
    MsiSetInternalUI(INSTALLUILEVEL_NONE, NULL);
    if (count == 2) {
        puts("running");
        fflush(stdout);
        Sleep(INFINITE);
    }
    if (count == 5) {
        return MsiConfigureProductExW(arguments[3], INSTALLLEVEL_DEFAULT, INSTALLSTATE_DEFAULT,
                                      BY_AN_UPGRADE);
    }
    MsiEnableLogW(INSTALLLOGMODE_VERBOSE | INSTALLLOGMODE_PROPERTYDUMP | INSTALLLOGMODE_ACTIONDATA,
                  arguments[3], 0);
    return MsiInstallProductW(arguments[1], arguments[2]);
}
