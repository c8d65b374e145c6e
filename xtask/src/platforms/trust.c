/* Adds a certificate in PEM format to the authorities that Windows trusts for everybody, as
 * `certutil -addstore Root` does, which wine lacks. Only tests use it. */
#include <stdio.h>
#include <windows.h>
#include <wincrypt.h>

static char text[65536];
static BYTE der[65536];

int wmain(int count, wchar_t **arguments) {
    FILE *file = count == 2 ? _wfopen(arguments[1], L"rb") : NULL;
    DWORD size = sizeof der;
    HCERTSTORE store;

    if (!file || !fread(text, 1, sizeof text - 1, file))
        return 1;
    if (!CryptStringToBinaryA(text, 0, CRYPT_STRING_BASE64HEADER, der, &size, NULL, NULL))
        return 2;
    store = CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0, CERT_SYSTEM_STORE_LOCAL_MACHINE, L"Root");
    if (!store || !CertAddEncodedCertificateToStore(store, X509_ASN_ENCODING, der, size,
                                                    CERT_STORE_ADD_REPLACE_EXISTING, NULL))
        return 3;
    return !CertCloseStore(store, CERT_CLOSE_STORE_CHECK_FLAG);
}
